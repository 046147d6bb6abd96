//! How the C library keeps freed memory: a box has little, and a daemon runs for years.

/// Freed blocks from this size on go back to the system at once.
const LARGE: libc::c_int = 64 * 1024;

/// Sets the C library to keep little: one arena beside the main thread's, and large blocks given back when freed.
///
/// Call it before any thread is started. Does nothing where the C library is not glibc.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets parameters, and no other thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Gives freed memory back to the system.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
