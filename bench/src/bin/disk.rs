//! Ways to bring a log's block to the disk, each by itself: `disk FOLDER [BLOCKS]`.
//!
//! Owns: what a synced append costs this machine and this file system, by the calls it is made with. Never: the log (see `wal`), which
//! makes it with the first of these ways; a result here says what another way could bring at most.
//!
//! Every way appends blocks to a file of its own that was filled with zeros and synced before, as a segment is, in turn and several
//! rounds, so that what else the machine does meets all of them.

#![cfg_attr(
    target_os = "linux",
    expect(clippy::print_stdout, reason = "a program for people and for xtask")
)]

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;
    use std::fs::{File, OpenOptions};
    use std::io::IoSlice;
    use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use rustix::fs::OFlags;
    use rustix::io::{ReadWriteFlags, pwritev2};

    const SEGMENT_BYTES: usize = 64 * 1024 * 1024;
    const ROUNDS: usize = 5;
    /// What a disk writes at once at least, and what O_DIRECT asks for.
    const SECTOR_BYTES: usize = 4096;
    /// One small write, and the writes of fifty connections.
    const BLOCK_BYTES: [usize; 2] = [512, 16 * 1024];

    type Outcome<T> = Result<T, Box<dyn Error>>;

    #[derive(Clone, Copy)]
    enum Way {
        WriteThenSync,
        SyncingWrite,
        Direct,
    }

    const WAYS: [Way; 3] = [Way::WriteThenSync, Way::SyncingWrite, Way::Direct];

    impl Way {
        const fn name(self) -> &'static str {
            match self {
                Self::WriteThenSync => "pwrite, fdatasync",
                Self::SyncingWrite => "pwritev2 with RWF_DSYNC",
                Self::Direct => "O_DIRECT and O_DSYNC",
            }
        }

        fn open(self, path: &Path) -> Outcome<File> {
            let flags = match self {
                Self::Direct => OFlags::DIRECT | OFlags::DSYNC,
                _ => OFlags::empty(),
            };
            let flags = i32::try_from(flags.bits())?;
            Ok(OpenOptions::new().write(true).custom_flags(flags).open(path)?)
        }
    }

    /// What the appends of one round took.
    #[derive(Default)]
    struct Took {
        walls: Vec<Duration>,
        cpu: Duration,
        sleeps: u64,
    }

    pub(super) fn run() -> Outcome<()> {
        let mut arguments = std::env::args().skip(1);
        let folder = PathBuf::from(arguments.next().ok_or("disk FOLDER [BLOCKS]")?);
        let blocks: usize = arguments.next().map_or(Ok(1000), |number| number.parse())?;
        println!("| way | block | p50 us | p99 us | CPU us | sleeps |\n|---|---|---|---|---|---|");
        for bytes in BLOCK_BYTES {
            let mut all = WAYS.map(|way| (way, Took::default()));
            for _ in 0..ROUNDS {
                for (way, took) in &mut all {
                    append(*way, &folder, bytes, blocks, took)?;
                }
            }
            for (way, took) in all {
                println!("{}", line(way, bytes, took));
            }
        }
        Ok(())
    }

    fn append(
        way: Way,
        folder: &Path,
        bytes: usize,
        blocks: usize,
        took: &mut Took,
    ) -> Outcome<()> {
        let path = folder.join("ways-to-disk");
        let filled = File::create(&path)?;
        filled.write_all_at(&vec![0; SEGMENT_BYTES], 0)?;
        filled.sync_all()?;
        let file = way.open(&path)?;
        let room = vec![7; bytes + 2 * SECTOR_BYTES];
        // Where the memory is aligned as O_DIRECT asks for.
        let start = room.as_ptr().align_offset(SECTOR_BYTES);
        let (cpu, sleeps) = used()?;
        for block in 0..blocks {
            let at = block * bytes % (SEGMENT_BYTES - bytes - SECTOR_BYTES);
            let began = Instant::now();
            match way {
                Way::WriteThenSync => {
                    file.write_all_at(&room[start..start + bytes], at as u64)?;
                    file.sync_data()?;
                }
                Way::SyncingWrite => {
                    let block = [IoSlice::new(&room[start..start + bytes])];
                    let written = pwritev2(&file, &block, at as u64, ReadWriteFlags::DSYNC)?;
                    assert_eq!(written, bytes, "a block is written whole");
                }
                Way::Direct => {
                    // Whole sectors: the one that was begun is written once more.
                    let (from, end) = (at / SECTOR_BYTES, (at + bytes).div_ceil(SECTOR_BYTES));
                    let length = (end - from) * SECTOR_BYTES;
                    file.write_all_at(&room[start..start + length], (from * SECTOR_BYTES) as u64)?;
                }
            }
            took.walls.push(began.elapsed());
        }
        let (cpu_after, sleeps_after) = used()?;
        took.cpu += cpu_after.saturating_sub(cpu);
        took.sleeps += sleeps_after - sleeps;
        std::fs::remove_file(&path)?;
        Ok(())
    }

    /// CPU time of this thread, and how often it slept.
    fn used() -> Outcome<(Duration, u64)> {
        let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
        let nanos = schedstat.split_whitespace().next().ok_or("schedstat is empty")?.parse()?;
        let status = std::fs::read_to_string("/proc/thread-self/status")?;
        let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Ok((Duration::from_nanos(nanos), sleeps.ok_or("no count of sleeps")?.trim().parse()?))
    }

    fn line(way: Way, bytes: usize, mut took: Took) -> String {
        took.walls.sort_unstable();
        let count = took.walls.len();
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let (p50, p99) = (micros(took.walls[count / 2]), micros(took.walls[count * 99 / 100]));
        let each = count as f64;
        let (cpu, sleeps) = (micros(took.cpu) / each, took.sleeps as f64 / each);
        format!("| {} | {bytes} | {p50:.0} | {p99:.0} | {cpu:.0} | {sleeps:.2} |", way.name())
    }
}
