//! Writes the seeds of every target into a folder, one subfolder each, for a fuzzer to begin with.
use std::io;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("name the folder to write to"))?;
    for target in keystead_fuzz::TARGETS {
        let own = folder.join(target.name);
        std::fs::create_dir_all(&own)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(own.join(format!("seed-{number:03}")), seed)?;
        }
    }
    Ok(())
}
