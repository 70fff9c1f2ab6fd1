// SPDX-License-Identifier: Apache-2.0
//! Which entries of which folders a path leads through: whatever becomes of the file, one of these
//! changes, or the file itself does.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Links that the system follows at most.
const MOST_LINKS: usize = 40;

/// A folder, and the name of an entry in it.
pub(crate) type Hop = (PathBuf, OsString);

/// All links on the way of an absolute path, and the file at its end; the last one may be missing.
pub(crate) fn of(path: &Path) -> Vec<Hop> {
    let mut hops = Vec::new();
    let mut rest: Vec<OsString> = pieces(path);
    rest.reverse();
    let mut at = PathBuf::from("/");
    while let Some(piece) = rest.pop() {
        if piece == ".." {
            at.pop();
            continue;
        }
        let entry = at.join(&piece);
        let link = fs::read_link(&entry).ok().filter(|_| hops.len() < MOST_LINKS);
        if link.is_some() || rest.is_empty() {
            hops.push((at.clone(), piece));
        }
        match link {
            None => at = entry,
            Some(target) => {
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                rest.extend(pieces(&target).into_iter().rev());
            }
        }
    }
    hops
}

fn pieces(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_link_on_the_way_is_a_hop() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("its path");
        fs::create_dir(root.join("..v1")).expect("a folder");
        fs::write(root.join("..v1/app.json"), "[]").expect("a file");
        symlink("..v1", root.join("..data")).expect("a link");
        symlink("..data/app.json", root.join("app.json")).expect("a link");
        let found = of(&root.join("app.json"));
        let expected =
            [(root.clone(), "app.json"), (root.clone(), "..data"), (root.join("..v1"), "app.json")];
        assert_eq!(found, expected.map(|(folder, name)| (folder, OsString::from(name))));
        assert_eq!(of(&root.join("none/x.json")), [(root.join("none"), "x.json".into())]);
        symlink("loop", root.join("loop")).expect("a link");
        assert!(of(&root.join("loop")).len() <= MOST_LINKS + 1);
    }
}
