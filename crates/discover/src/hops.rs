// SPDX-License-Identifier: Apache-2.0
//! The entries of folders that a path leads through: whatever becomes of the file, one of these
//! changes, or the file itself does.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Links that the system follows at most.
const MOST_LINKS: usize = 40;

/// A folder, and the name of an entry in it.
pub(crate) type Hop = (PathBuf, OsString);

/// All folders and links on the way of an absolute path, and the file at its end; they may be
/// missing.
pub(crate) fn of(path: &Path) -> Vec<Hop> {
    let mut hops = Vec::new();
    let mut rest: Vec<OsString> = pieces(path);
    rest.reverse();
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(piece) = rest.pop() {
        if piece == ".." {
            at.pop();
            continue;
        }
        let entry = at.join(&piece);
        let link = fs::read_link(&entry).ok().filter(|_| links < MOST_LINKS);
        links += usize::from(link.is_some());
        hops.push((at.clone(), piece));
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
    fn every_folder_and_link_on_the_way_is_a_hop() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("its path");
        fs::create_dir(root.join("..v1")).expect("a folder");
        fs::write(root.join("..v1/app.json"), "[]").expect("a file");
        symlink("..v1", root.join("..data")).expect("a link");
        symlink("..data/app.json", root.join("app.json")).expect("a link");
        let below = |path: &str| -> Vec<Hop> {
            let all = of(&root.join(path)).into_iter();
            all.skip_while(|(folder, _)| !folder.starts_with(&root)).collect()
        };
        let hop = |folder: &str, name: &str| (root.join(folder), OsString::from(name));
        let expected = [hop("", "app.json"), hop("", "..data"), hop("", "..v1"), hop("..v1", "app.json")];
        assert_eq!(below("app.json"), expected);
        assert_eq!(below("none/x.json"), [hop("", "none"), hop("none", "x.json")]);
        let above = of(&root.join("x.json"));
        assert_eq!(above[0].0, Path::new("/"), "a folder above may be replaced");
        symlink("loop", root.join("loop")).expect("a link");
        assert!(of(&root.join("loop")).len() < MOST_LINKS + 20);
    }
}
