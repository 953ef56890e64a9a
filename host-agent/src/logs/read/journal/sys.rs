//! libsystemd's sd-journal API, loaded at run time, behind a safe [`Handle`]. The one module of the workspace with `unsafe`.
//!
//! In: `libsystemd.so.0`. Out: what its functions answer, as Rust values; negative results as [`io::Error`]. Called by
//! `journal.rs` only. The prototypes are those of `sd-journal.h`, unchanged since systemd 246, the oldest that has
//! `sd_journal_enumerate_available_data`.
//!
//! **Invariants**: a `Handle` stays on its thread (sd-journal asks for that; a raw pointer makes it `!Send`); what the library
//! owns is lent to a closure and not kept, because its next call may unmap it.
//! **Absent**: any policy: where to begin, what a gap is, which errors matter.

#![expect(unsafe_code, reason = "calls a C library; every other module is safe")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use libloading::Library;

/// The name that every distribution with systemd has.
const LIBRARY: &str = "libsystemd.so.0";
/// Only this machine's journals, not those received from others (`sd_journal_open(3)`).
const LOCAL_ONLY: c_int = 1 << 0;

/// Why the library cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// It cannot be loaded.
    #[error(
        "cannot load {LIBRARY}, which reads the journal: install systemd's library (Debian: libsystemd0), or set \
         logs.journal.enabled = false"
    )]
    Missing(#[source] libloading::Error),
    /// It is too old.
    #[error("{LIBRARY} lacks {symbol}: the journal is read with systemd 246 or newer")]
    Old {
        /// The function.
        symbol: &'static str,
        /// What the loader says.
        #[source]
        source: libloading::Error,
    },
}

/// An `sd_journal`, opaque.
type Journal = *mut c_void;

macro_rules! functions {
    ($($field:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions, and the library that keeps them mapped.
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            _library: Library,
        }

        impl Functions {
            fn of(library: Library) -> Result<Self, LibraryError> {
                $(
                    let symbol = concat!("sd_journal_", stringify!($field));
                    // SAFETY: the type is this function's prototype in sd-journal.h; the pointer is used only while
                    // `_library`, beside it, keeps the library loaded.
                    let $field = unsafe { library.get(symbol.as_bytes()) }
                        .map(|found| *found)
                        .map_err(|source| LibraryError::Old { symbol, source })?;
                )*
                Ok(Self { $($field,)* _library: library })
            }
        }
    };
}

functions! {
    open: fn(*mut Journal, c_int) -> c_int;
    open_namespace: fn(*mut Journal, *const c_char, c_int) -> c_int;
    open_directory: fn(*mut Journal, *const c_char, c_int) -> c_int;
    close: fn(Journal);
    set_data_threshold: fn(Journal, usize) -> c_int;
    add_match: fn(Journal, *const c_void, usize) -> c_int;
    add_disjunction: fn(Journal) -> c_int;
    add_conjunction: fn(Journal) -> c_int;
    flush_matches: fn(Journal);
    seek_head: fn(Journal) -> c_int;
    seek_tail: fn(Journal) -> c_int;
    seek_cursor: fn(Journal, *const c_char) -> c_int;
    seek_realtime_usec: fn(Journal, u64) -> c_int;
    next: fn(Journal) -> c_int;
    previous: fn(Journal) -> c_int;
    get_cursor: fn(Journal, *mut *mut c_char) -> c_int;
    restart_data: fn(Journal);
    enumerate_available_data: fn(Journal, *mut *const c_void, *mut usize) -> c_int;
    get_fd: fn(Journal) -> c_int;
    process: fn(Journal) -> c_int;
    get_usage: fn(Journal, *mut u64) -> c_int;
    get_cutoff_realtime_usec: fn(Journal, *mut u64, *mut u64) -> c_int;
}

/// The loaded library; cheap to clone.
#[derive(Clone)]
pub struct SdJournal(Arc<Functions>);

impl std::fmt::Debug for SdJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SdJournal({LIBRARY})")
    }
}

impl SdJournal {
    /// Loads it.
    ///
    /// # Errors
    /// When the machine lacks it, or it is too old.
    pub fn load() -> Result<Self, LibraryError> {
        Self::load_named(LIBRARY)
    }

    fn load_named(name: &str) -> Result<Self, LibraryError> {
        // SAFETY: libsystemd has no initialiser or finaliser that expects anything of its caller.
        let library = unsafe { Library::new(name) }.map_err(LibraryError::Missing)?;
        Ok(Self(Arc::new(Functions::of(library)?)))
    }

    /// Opens the host's journal, or a namespace of it.
    ///
    /// # Errors
    /// What `sd_journal_open` or `sd_journal_open_namespace` says.
    pub(super) fn open(&self, namespace: Option<&str>) -> io::Result<Handle> {
        let namespace = namespace.map(CString::new).transpose()?;
        self.handle(|functions, journal| match &namespace {
            // SAFETY: `journal` is a place for the result; the string ends with NUL and outlives the call.
            Some(name) => unsafe { (functions.open_namespace)(journal, name.as_ptr(), LOCAL_ONLY) },
            // SAFETY: `journal` is a place for the result.
            None => unsafe { (functions.open)(journal, LOCAL_ONLY) },
        })
    }

    /// Opens the journal files of a directory, and those of its subdirectories that are named by a machine's id.
    ///
    /// # Errors
    /// What `sd_journal_open_directory` says.
    pub(super) fn open_directory(&self, directory: &Path) -> io::Result<Handle> {
        let path = CString::new(directory.as_os_str().as_bytes())?;
        // SAFETY: `journal` is a place for the result; the string ends with NUL and outlives the call.
        self.handle(|functions, journal| unsafe {
            (functions.open_directory)(journal, path.as_ptr(), 0)
        })
    }

    fn handle(&self, open: impl FnOnce(&Functions, *mut Journal) -> c_int) -> io::Result<Handle> {
        let mut journal: Journal = ptr::null_mut();
        check(open(&self.0, &raw mut journal))?;
        let handle = Handle { functions: Arc::clone(&self.0), journal };
        // SAFETY: the handle is open. Without this, values longer than 64 KiB would come cut.
        check(unsafe { (handle.functions.set_data_threshold)(handle.journal, 0) })?;
        Ok(handle)
    }
}

/// A negative result is an errno.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

/// An open journal.
pub(super) struct Handle {
    functions: Arc<Functions>,
    /// Never null; open until this value is dropped.
    journal: Journal,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({:p})", self.journal)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nobody uses it after this.
        unsafe { (self.functions.close)(self.journal) }
    }
}

/// Functions of the handle alone, with an errno as result.
macro_rules! plain {
    ($($(#[$meta:meta])* $name:ident => $field:ident;)*) => {
        $(
            $(#[$meta])*
            ///
            /// # Errors
            /// What the library says.
            pub(super) fn $name(&mut self) -> io::Result<c_int> {
                // SAFETY: the handle is open; `&mut` keeps other calls away.
                check(unsafe { (self.functions.$field)(self.journal) })
            }
        )*
    };
}

impl Handle {
    plain! {
        /// Everything that follows is another way to match (`OR`).
        add_disjunction => add_disjunction;
        /// Everything that follows must match as well (`AND`).
        add_conjunction => add_conjunction;
        /// Before the first entry.
        seek_head => seek_head;
        /// After the last entry.
        seek_tail => seek_tail;
        /// To the next entry; 0 at the end.
        next => next;
        /// To the entry before; 0 at the beginning.
        previous => previous;
        /// Takes notice of files that came or went. 0: nothing changed.
        process => process;
    }

    /// Only entries with this `FIELD=VALUE`; of several with one field any, of different fields all.
    ///
    /// # Errors
    /// When the field is no name of a field.
    pub(super) fn add_match(&mut self, field_is_value: &[u8]) -> io::Result<()> {
        let (data, length) = (field_is_value.as_ptr().cast(), field_is_value.len());
        // SAFETY: the handle is open; the library copies the bytes.
        check(unsafe { (self.functions.add_match)(self.journal, data, length) }).map(drop)
    }

    /// All entries again.
    pub(super) fn flush_matches(&mut self) {
        // SAFETY: the handle is open.
        unsafe { (self.functions.flush_matches)(self.journal) }
    }

    /// Before the entry of a cursor, or before the first one after it.
    ///
    /// # Errors
    /// When it is no cursor.
    pub(super) fn seek_cursor(&mut self, cursor: &str) -> io::Result<()> {
        let cursor = CString::new(cursor)?;
        // SAFETY: the handle is open; the string ends with NUL and outlives the call.
        check(unsafe { (self.functions.seek_cursor)(self.journal, cursor.as_ptr()) }).map(drop)
    }

    /// Before the first entry at or after a time, microseconds since the epoch.
    ///
    /// # Errors
    /// What the library says.
    pub(super) fn seek_realtime(&mut self, time_us: u64) -> io::Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { (self.functions.seek_realtime_usec)(self.journal, time_us) }).map(drop)
    }

    /// Writes the cursor of the entry under the handle into `into`.
    ///
    /// # Errors
    /// When the handle stands at no entry.
    pub(super) fn cursor(&mut self, into: &mut String) -> io::Result<()> {
        let mut text: *mut c_char = ptr::null_mut();
        // SAFETY: the handle is open; `text` is a place for the result.
        check(unsafe { (self.functions.get_cursor)(self.journal, &raw mut text) })?;
        into.clear();
        // SAFETY: after success `text` is a string that ends with NUL and is ours.
        into.push_str(&unsafe { CStr::from_ptr(text) }.to_string_lossy());
        // SAFETY: it was allocated by malloc for its caller, and is not used any more.
        unsafe { libc::free(text.cast()) }
        Ok(())
    }

    /// Lends each field of the entry under the handle to `take`, as `FIELD=VALUE`.
    ///
    /// # Errors
    /// When a field cannot be read; those before it were lent.
    pub(super) fn fields(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        // SAFETY: the handle is open.
        unsafe { (self.functions.restart_data)(self.journal) }
        loop {
            let (mut data, mut length): (*const c_void, usize) = (ptr::null(), 0);
            // SAFETY: the handle is open; both are places for the result.
            let result = unsafe {
                (self.functions.enumerate_available_data)(
                    self.journal,
                    &raw mut data,
                    &raw mut length,
                )
            };
            if check(result)? == 0 {
                return Ok(());
            }
            // SAFETY: after success `data` points to `length` bytes that are valid until the next call on this handle;
            // the closure cannot make one, because `self` is borrowed.
            take(unsafe { std::slice::from_raw_parts(data.cast(), length) });
        }
    }

    /// What becomes readable when files change.
    ///
    /// # Errors
    /// When inotify has no more room.
    pub(super) fn descriptor(&mut self) -> io::Result<BorrowedFd<'_>> {
        // SAFETY: the handle is open.
        let descriptor = check(unsafe { (self.functions.get_fd)(self.journal) })?;
        // SAFETY: the descriptor stays open as long as the handle, which is borrowed as long as the result.
        Ok(unsafe { BorrowedFd::borrow_raw(descriptor) })
    }

    /// Bytes on disk of all files of this journal.
    ///
    /// # Errors
    /// What the library says.
    pub(super) fn usage(&mut self) -> io::Result<u64> {
        let mut bytes = 0;
        // SAFETY: the handle is open; `bytes` is a place for the result.
        check(unsafe { (self.functions.get_usage)(self.journal, &raw mut bytes) })?;
        Ok(bytes)
    }

    /// Times of the first and the last entry, microseconds since the epoch; `None` in an empty journal.
    ///
    /// # Errors
    /// What the library says.
    pub(super) fn cutoff(&mut self) -> io::Result<Option<(u64, u64)>> {
        let (mut from, mut to) = (0, 0);
        // SAFETY: the handle is open; both are places for the result.
        let result = unsafe {
            (self.functions.get_cutoff_realtime_usec)(self.journal, &raw mut from, &raw mut to)
        };
        Ok((check(result)? > 0).then_some((from, to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_the_library_is_told_what_to_do() {
        let error = SdJournal::load_named("libsystemd-that-nobody-has.so").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("libsystemd0") && text.contains("logs.journal.enabled"), "{text}");
    }

    #[test]
    fn a_library_without_the_functions_is_named_as_too_old() {
        let error = SdJournal::load_named("libc.so.6").unwrap_err();
        assert!(error.to_string().contains("lacks sd_journal_open"), "{error}");
    }
}
