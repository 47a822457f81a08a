//! A disk of a node's own: a file system in a file, whose power can fail and which can be filled up.
//!
//! Owns: the file, the loop device, the mount; all but the file are gone with the value. Never: touches a node; it must
//! not run while its disk loses power.
//!
//! How power fails: what a process has written stands in the kernel's memory until an fsync, or the kernel's own
//! leisure, brings it to the device. So the device, as it stands when the process has been killed, is what a machine
//! without power would be left with. It is copied, the file system is unmounted (which writes out all that the copy must
//! not have), and the copy takes its place; mounting replays the file system's journal, as after any power failure.
//! The kernel is asked to take its time (`commit=`), so that next to nothing gets there that was not asked for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::error::TortureError;
use super::tool::{run, try_run};

/// Room for a run's log, snapshots and file system. The file takes only what is used.
const IMAGE_BYTES: u64 = 768 << 20;
/// Seconds until the file system writes its journal unasked: longer than any fault lasts.
const COMMIT: &str = "loop,noatime,commit=600";
/// What is left free when a disk counts as full.
const LEFT_BYTES: u64 = 64 * 1024;

/// A mounted disk.
#[derive(Debug)]
pub(super) struct Image {
    file: PathBuf,
    mount: PathBuf,
    is_mounted: bool,
}

impl Image {
    /// Makes a disk in `file`, mounted on `mount`.
    ///
    /// # Errors
    /// [`TortureError`]: no rights, no loop devices, no `mkfs.ext4`.
    pub(super) fn create(file: PathBuf, mount: PathBuf) -> Result<Self, TortureError> {
        fs::create_dir_all(&mount).map_err(TortureError::file("create", &mount))?;
        File::create(&file)
            .and_then(|made| made.set_len(IMAGE_BYTES))
            .map_err(TortureError::file("create", &file))?;
        let mut image = Self { file, mount, is_mounted: false };
        // No blocks set aside for root: the node, which may be root, shall find the disk full.
        run(&["mkfs.ext4", "-q", "-F", "-m", "0", &text(&image.file)])?;
        image.attach()?;
        Ok(image)
    }

    fn attach(&mut self) -> Result<(), TortureError> {
        run(&["mount", "-o", COMMIT, &text(&self.file), &text(&self.mount)])?;
        self.is_mounted = true;
        Ok(())
    }

    /// Everything that was not synced is gone. Nothing may have files of it open.
    ///
    /// # Errors
    /// [`TortureError`].
    pub(super) fn lose_power(&mut self) -> Result<(), TortureError> {
        let left = self.file.with_extension("left");
        run(&["cp", "--sparse=always", &text(&self.file), &text(&left)])?;
        run(&["umount", &text(&self.mount)])?;
        self.is_mounted = false;
        fs::rename(&left, &self.file).map_err(TortureError::file("rename", &left))?;
        self.attach()
    }

    /// Takes all room but a little.
    ///
    /// # Errors
    /// [`TortureError`].
    pub(super) fn fill(&self) -> Result<(), TortureError> {
        let path = text(&self.ballast());
        let mut size = 0;
        let mut step = self.free_bytes()?.saturating_sub(LEFT_BYTES);
        // What is free in all is not free in one piece, and the file's own map takes room.
        while step >= LEFT_BYTES {
            let (offset, length) = (size.to_string(), step.to_string());
            match run(&["fallocate", "-o", &offset, "-l", &length, &path]) {
                Ok(_) => {
                    size += step;
                    step = step.min(self.free_bytes()?.saturating_sub(LEFT_BYTES));
                }
                Err(TortureError::Tool { .. }) => step /= 2,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// [`TortureError`].
    pub(super) fn relieve(&self) -> Result<(), TortureError> {
        let path = self.ballast();
        fs::remove_file(&path).map_err(TortureError::file("remove", path))
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    fn free_bytes(&self) -> Result<u64, TortureError> {
        let stat = statvfs(&self.mount)
            .map_err(|error| TortureError::file("ask for room in", &self.mount)(error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: after an error somebody may still have files open.
            try_run(&["umount", "-l", &text(&self.mount)]);
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
