//! Secrets: references to files or systemd credentials, never values.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys};

use super::{Context, READ_HELP, reason};
use crate::code;

/// Where systemd puts the credentials of the daemon's unit, for commands that run outside it.
const CREDENTIALS: &str = "/run/credentials/gatehouse.service";

/// Reads a secret's reference: `{ file = "..." }` or `{ credential = "..." }`; the path that will hold it.
pub(super) fn read(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, key: &'static str) -> Option<Found<PathBuf>> {
    let value = keys.raw(key)?;
    let Some(table) = value.get_ref().as_table() else {
        context.sink.hide(value.span());
        let message = format!("`{key}` is written into the file: a site file holds no secrets");
        let help = format!(
            "put it into a file that only gatehouse can read and write {key} = {{ file = \"/etc/gatehouse/{key}\" }}, \
             or {key} = {{ credential = \"{key}\" }} for a systemd credential; then change it, for it was readable here"
        );
        context.sink.error(code::LITERAL_SECRET, value.span(), message, help);
        return None;
    };
    let mut inner = Keys::new(table, value.span());
    let file = context.path(&mut inner, "file");
    let credential = inner.text("credential");
    let path = match (file, credential) {
        (Some(_), Some(_)) => {
            let message = format!("`{key}` comes from a file or from a credential, not from both");
            inner.error(Rule::Conflict, value.span(), message, "");
            None
        }
        (Some(file), None) => {
            look_at(context, key, &file.value, file.span);
            Some(file.value)
        }
        (None, Some(name)) if name.value.is_empty() || name.value.contains('/') => {
            let message = format!("`credential` = {:?} is not the name of a credential", name.value);
            inner.error(Rule::BadValue, name.span, message, "the name in LoadCredential= of the unit");
            None
        }
        (None, Some(name)) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
            let path = folder.as_deref().map_or(Path::new(CREDENTIALS), Path::new).join(name.value);
            if folder.is_some() {
                look_at(context, key, &path, name.span);
            }
            Some(path)
        }
        (None, None) if inner.errors.is_empty() => {
            let help = format!("{key} = {{ file = \"/etc/gatehouse/{key}\" }} or {{ credential = \"{key}\" }}");
            inner.error(Rule::MissingKey, value.span(), format!("`{key}` says not where the secret is"), help);
            None
        }
        (None, None) => None,
    };
    context.end(inner);
    Some(Found { value: path?, span: value.span() })
}

fn look_at(context: &mut Context<'_>, key: &str, path: &Path, span: std::ops::Range<usize>) {
    let opened = std::fs::File::open(path).and_then(|file| file.metadata());
    match opened {
        Err(why) => {
            let message = format!("`{key}`: {} cannot be read: {}", path.display(), reason(&why));
            context.sink.warn(code::FILE_ABSENT, span, message, READ_HELP);
        }
        Ok(meta) if meta.permissions().mode() & 0o004 != 0 => {
            let message = format!("`{key}`: everybody on this box can read {}", path.display());
            context.sink.warn(code::OPEN_SECRET, span, message, format!("chmod o-rwx {}", path.display()));
        }
        Ok(_) => {}
    }
}
