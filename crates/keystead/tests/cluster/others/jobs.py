"""The work that job_queue.py hands to rq. Each run of a job leaves a line in the file named by JOBS_RUN."""

import os


def _note(what):
    # One short write to a file opened for appending is not torn, whoever else writes.
    with open(os.environ["JOBS_RUN"], "a") as ran:
        ran.write(what + "\n")


def square(number):
    _note(f"square {number}")
    return number * number


def total(numbers):
    _note("total")
    return sum(numbers)


def refuse(number):
    _note(f"refuse {number}")
    raise ValueError(f"{number} is refused")


def refuse_once(mark):
    """Fails the first time it is run with this mark."""
    _note(f"refuse_once {mark}")
    with open(os.environ["JOBS_RUN"]) as ran:
        if ran.read().count(f"refuse_once {mark}\n") == 1:
            raise ValueError("once")
    return "at last"


def told_of_success(job, connection, result):
    _note(f"success {job.id} {result}")


def told_of_failure(job, connection, kind, value, traceback):
    _note(f"failure {job.id} {value}")


def once(name):
    _note(name)
