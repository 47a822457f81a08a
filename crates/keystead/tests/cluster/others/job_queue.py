"""A program that uses rq as its authors describe it. Started by job_queue.rs.

    job_queue.py offers PORT...          everything rq offers that needs no second program, node by node
    job_queue.py waits PORT...           workers that wait for jobs, and their scheduler, node by node
    job_queue.py enqueue COUNT PORT...   hands jobs in, saying of each whether it was taken or nobody knows
    job_queue.py waiting PORT            how many jobs wait
    job_queue.py audit PORT              what became of the jobs that are named on standard input

What ran is in the file named by JOBS_RUN, whatever rq says of it.
"""

import collections
import os
import subprocess
import sys
import time
from datetime import timedelta

import jobs
import redis
from rq import Callback, Queue, Repeat, Retry, Worker
from rq.command import send_shutdown_command
from rq.group import Group
from rq.job import Job
from rq.registry import (
    CanceledJobRegistry,
    DeferredJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from rq.suspension import resume, suspend

# Longer than a node takes to answer UNCERTAIN.
ANSWER_SECONDS = 20
# The jobs of the run with a failover.
ORDERS = "orders"


def connect(port):
    return redis.Redis(port=int(port), socket_timeout=ANSWER_SECONDS)


def ran():
    with open(os.environ["JOBS_RUN"]) as file:
        return collections.Counter(file.read().splitlines())


def work(connection, *queues):
    Worker(list(queues), connection=connection).work(
        burst=True, logging_level="WARNING"
    )


def jobs_of_every_kind(connection, queue):
    results = [queue.enqueue(jobs.square, n, meta={"n": n}, description=f"{n} squared") for n in range(5)]
    first = queue.enqueue(jobs.square, 100, at_front=True)
    assert queue.get_job_ids()[0] == first.id and len(queue) == 6
    assert queue.get_job_position(results[0].id) == 1
    later = queue.enqueue_in(timedelta(hours=1), jobs.square, 300)
    assert set(ScheduledJobRegistry(queue=queue).get_job_ids()) == {later.id}
    dependent = queue.enqueue(jobs.total, [1, 2, 3], depends_on=results)
    assert DeferredJobRegistry(queue=queue).get_job_ids() == [dependent.id]
    cancelled = queue.enqueue(jobs.square, 400)
    cancelled.cancel()
    assert CanceledJobRegistry(queue=queue).get_job_ids() == [cancelled.id]
    gone = queue.enqueue(jobs.square, 500)
    gone.delete()
    many = queue.enqueue_many([Queue.prepare_data(jobs.square, (n,), job_id=f"many-{queue.name}-{n}") for n in range(600, 603)])
    group = Group.create(connection=connection)
    members = group.enqueue_many(queue, [Queue.prepare_data(jobs.square, (n,)) for n in range(700, 703)])

    work(connection, queue)

    assert [job.return_value() for job in results] == [n * n for n in range(5)]
    assert first.return_value() == 10_000
    assert later.get_status() == "scheduled" and dependent.return_value() == 6
    assert [job.return_value() for job in many] == [n * n for n in range(600, 603)]
    assert [job.return_value() for job in members] == [n * n for n in range(700, 703)]
    assert {job.id for job in group.get_jobs()} == {job.id for job in members}
    found = Job.fetch_many([results[3].id, gone.id], connection=connection)
    assert found[0].meta == {"n": 3} and found[0].description == "3 squared" and found[1] is None
    finished = FinishedJobRegistry(queue=queue)
    assert len(finished) == 5 + 1 + 1 + 3 + 3 and results[0].id in finished
    assert results[0].latest_result().return_value == 0 and len(results[0].results()) == 1
    counts = ran()
    assert counts["square 400"] == 0 and counts["square 500"] == 0 and counts["square 300"] == 0
    later.delete()


def failures(connection, queue):
    bad = queue.enqueue(jobs.refuse, 1, on_failure=Callback(jobs.told_of_failure))
    good = queue.enqueue(jobs.square, 7, on_success=Callback(jobs.told_of_success))
    twice = queue.enqueue(jobs.refuse_once, queue.name, retry=Retry(max=2))

    work(connection, queue)

    assert bad.get_status() == "failed" and "1 is refused" in bad.latest_result().exc_string
    registry = FailedJobRegistry(queue=queue)
    assert registry.get_job_ids() == [bad.id]
    counts = ran()
    assert counts[f"failure {bad.id} 1 is refused"] == 1 and counts[f"success {good.id} 49"] == 1
    assert twice.return_value() == "at last" and counts[f"refuse_once {queue.name}"] == 2
    registry.requeue(bad.id)
    assert queue.get_job_ids() == [bad.id]
    work(connection, queue)
    assert ran()[f"failure {bad.id} 1 is refused"] == 2 and len(registry) == 1
    registry.remove(bad.id, delete_job=True)
    assert len(registry) == 0 and Job.fetch_many([bad.id], connection=connection) == [None]


def several_queues(connection, name):
    low, high = Queue(f"{name}-low", connection=connection), Queue(f"{name}-high", connection=connection)
    last, first = low.enqueue(jobs.once, f"{name} low"), high.enqueue(jobs.once, f"{name} high")
    suspend(connection)
    work(connection, high, low)
    assert len(low) == 1 and len(high) == 1, "a suspended worker takes nothing"
    resume(connection)
    work(connection, high, low)
    assert first.ended_at is None  # What this process knows of it is old.
    first.refresh(), last.refresh()
    assert first.ended_at <= last.started_at, "the first queue comes first"
    assert {queue.name for queue in Queue.all(connection=connection)} >= {low.name, high.name}
    assert Worker.count(connection=connection) == 0, "workers sign off"


def offers(ports):
    for port in ports:
        connection = connect(port)
        jobs_of_every_kind(connection, Queue(f"every-{port}", connection=connection))
        failures(connection, Queue(f"failing-{port}", connection=connection))
        several_queues(connection, f"several-{port}")
        connection.close()
    print("done")


def until(what, happened):
    deadline = time.monotonic() + ANSWER_SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"{what} for {ANSWER_SECONDS} s"
        time.sleep(0.02)


def blocked(connection):
    return connection.info("clients")["blocked_clients"]


def serve(port, *queues):
    """`rq worker` as a service manager runs it: it waits for jobs, and does what the scheduler is for."""
    line = ["-c", "from rq.cli import main; main()", "worker", "--with-scheduler", "--quiet"]
    line += ["--url", f"redis://127.0.0.1:{port}", *queues]
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__))}
    return subprocess.Popen([sys.executable, *line], env=environment)


def result(job):
    """Waits as rq does, on the stream of the job's results."""
    found = job.latest_result(timeout=ANSWER_SECONDS)
    assert found is not None, f"{job.id} has no result after {ANSWER_SECONDS} s"
    return found.return_value


def waits(ports):
    for port in ports:
        connection = connect(port)
        # A worker of one queue waits by BLMOVE, one of several by BLPOP.
        for names in [[f"one-{port}"], [f"high-{port}", f"low-{port}"]]:
            idle = blocked(connection)
            worker = serve(port, *names)
            try:
                until("no worker waits", lambda: blocked(connection) > idle)
                queues = [Queue(name, connection=connection) for name in names]
                for queue in queues:
                    assert result(queue.enqueue(jobs.square, 3)) == 9
                    # What comes later is brought by the scheduler to a worker that waits.
                    assert result(queue.enqueue_in(timedelta(seconds=1), jobs.square, 5)) == 25
                later = queues[0].enqueue(jobs.refuse_once, names[0], retry=Retry(max=1, interval=1))
                until("no second try", lambda: later.get_status(refresh=True) == "finished")
                queues[0].enqueue(jobs.square, 11, repeat=Repeat(times=2, interval=1), job_id=f"again-{names[0]}")
                until("it is not repeated", lambda: ran()["square 11"] >= 3)
                until("the worker does not wait again", lambda: blocked(connection) > idle)
                send_shutdown_command(connection, Worker.all(queue=queues[0])[0].name)
                assert worker.wait(ANSWER_SECONDS) == 0
            finally:
                worker.kill()
            until("somebody still waits", lambda: blocked(connection) == idle)
            queues[0].enqueue(jobs.square, 13)
            assert len(queues[0]) == 1 and ran()["square 13"] == 0, "what comes behind the last worker stays"
            queues[0].empty()
            with open(os.environ["JOBS_RUN"], "w"):
                pass
        connection.close()
    print("done")


def enqueue(count, ports):
    """One job after the other, at the next node whenever a connection breaks. None is handed in twice."""
    at, queue = 0, None
    for number in range(count):
        name = f"order-{number}"
        try:
            if queue is None:
                queue = Queue(ORDERS, connection=connect(ports[at % len(ports)]))
            queue.enqueue(jobs.once, name, job_id=name, result_ttl=-1)
            print("taken", name, flush=True)
        except redis.RedisError as error:
            at, queue = at + 1, None
            print("unknown", name, str(error).split("\n")[0], flush=True)


def waiting(port):
    print(len(Queue(ORDERS, connection=connect(port))))


def audit(port):
    connection = connect(port)
    queue = Queue(ORDERS, connection=connection)
    counts = ran()
    held = set(queue.intermediate_queue.get_job_ids())
    started = set(StartedJobRegistry(queue=queue).get_job_ids(cleanup=False))
    failed = set(FailedJobRegistry(queue=queue).get_job_ids(cleanup=False))
    totals = collections.Counter()
    for line in sys.stdin:
        verdict, name = line.split()[:2]
        runs = counts[name]
        assert runs <= 1, f"{name} ran {runs} times"
        totals[verdict] += 1
        if verdict != "taken":
            totals["unknown and ran"] += runs
            continue
        job = Job.fetch(name, connection=connection)
        if runs == 1:
            totals["ran"] += 1
            # Who ran it may have died before it could say so; then the queue says that it does not know.
            is_told = job.is_finished or name in started or name in failed or name in held
            assert is_told, f"{name} ran and is {job.get_status()}"
        else:
            totals["stranded"] += 1
            assert name in held or name in started or name in failed, f"{name} is lost: {job.get_status()}"
    print(" ".join(f"{key.replace(' ', '_')}={value}" for key, value in sorted(totals.items())))


if __name__ == "__main__":
    verb, arguments = sys.argv[1], sys.argv[2:]
    if verb == "offers":
        offers(arguments)
    elif verb == "waits":
        waits(arguments)
    elif verb == "enqueue":
        enqueue(int(arguments[0]), arguments[1:])
    elif verb == "waiting":
        waiting(arguments[0])
    elif verb == "audit":
        audit(arguments[0])
    else:
        sys.exit(f"there is no verb {verb}")
