//! The files of a folder with vectors.

use std::path::{Path, PathBuf};

use super::VectorsError;

/// The *.json files of all folders, folder by folder; each has one at least.
pub(super) fn vector_files<P: AsRef<Path>>(folders: &[P]) -> Result<Vec<PathBuf>, VectorsError> {
    let mut files = Vec::new();
    for folder in folders.iter().map(AsRef::as_ref) {
        let more = json_files(folder)?;
        if more.is_empty() {
            return Err(VectorsError::Empty(folder.to_owned()));
        }
        files.extend(more);
    }
    Ok(files)
}

/// How deep folders are looked into.
pub(super) const MAX_DEPTH: usize = 8;

/// The *.json files of a folder and of those in it, by name.
pub(super) fn json_files(folder: &Path) -> Result<Vec<PathBuf>, VectorsError> {
    let mut files = Vec::new();
    add_json_files(folder, MAX_DEPTH, &mut files)?;
    files.sort();
    Ok(files)
}

/// A link to a folder is not followed: it may lead back.
fn add_json_files(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), VectorsError> {
    let failed = |why| VectorsError::Folder { folder: folder.to_owned(), why };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            match depth.checked_sub(1) {
                Some(depth) => add_json_files(&path, depth, files)?,
                None => return Err(VectorsError::TooDeep(path)),
            }
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}
