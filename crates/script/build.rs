//! Builds Lua 5.1.5 with the changes that `lua/keystead.h` lists.
//! Owns: the flags. Never: fetches anything; the sources stand in `lua/`.

use std::fs;
use std::io;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let mut sources: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir("lua")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    sources.sort();
    let mut build = cc::Build::new();
    build
        .files(sources)
        .warnings(false)
        // Fused multiplications round otherwise: every machine must come to the same last bit.
        .flag_if_supported("-ffp-contract=off")
        // Unoptimized, the interpreter takes several times as long and several times the stack.
        .opt_level(2)
        // The crate that refers to these symbols is linked behind this one.
        .link_lib_modifier("+whole-archive")
        .compile("keystead_lua");
    println!("cargo::rerun-if-changed=lua");
    Ok(())
}
