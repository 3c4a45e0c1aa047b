//! Sets the time of day back by an hour as soon as the file named by `CLOCK_BACK` exists. Load this library with
//! `LD_PRELOAD` (`ld.so(8)`). The monotonic clocks are not affected.

use std::ffi::{c_char, c_int, c_long};

/// `CLOCK_REALTIME` and `CLOCK_REALTIME_COARSE`.
const TIME_OF_DAY: [c_int; 2] = [0, 5];
const HOUR: i64 = 3600;

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(not(target_arch = "x86_64"))]
const CLOCK_GETTIME: c_long = 113;

/// `struct timespec` on 64-bit systems.
#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn access(path: *const c_char, mode: c_int) -> c_int;
    fn getenv(name: *const c_char) -> *const c_char;
}

/// Replaces the C library's function.
///
/// # Safety
///
/// As for `clock_gettime(3)`: `time` must point to a `struct timespec`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    // SAFETY: the kernel checks both arguments.
    let result = unsafe { syscall(CLOCK_GETTIME, clock, time) };
    if result == 0 && TIME_OF_DAY.contains(&clock) && is_set_back() {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).seconds -= HOUR };
    }
    if result == 0 { 0 } else { -1 }
}

fn is_set_back() -> bool {
    // SAFETY: the name ends with a zero byte, and nothing here changes the environment.
    let path = unsafe { getenv(c"CLOCK_BACK".as_ptr()) };
    // SAFETY: if `getenv` returns a pointer, it points to a string.
    !path.is_null() && unsafe { access(path, 0) } == 0
}
