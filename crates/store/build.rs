//! Lists the migrations, so that adding one means adding one file.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("migrations");
    println!("cargo::rerun-if-changed={}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".sql") {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    let mut list = String::from("const MIGRATIONS: &[Migration] = &[\n");
    for stem in names {
        let (number, name) = stem.split_once('_').ok_or("a migration is named NNNN_subject.sql")?;
        let number: i64 = number.parse()?;
        let path = directory.join(format!("{stem}.sql"));
        println!("cargo::rerun-if-changed={}", path.display());
        // The text itself, because a path would make the program depend on where it is built.
        let sql = fs::read_to_string(&path)?;
        writeln!(list, "Migration {{ number: {number}, name: {name:?}, sql: {sql:?} }},")?;
    }
    list.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("migrations.rs"), list)?;
    Ok(())
}
