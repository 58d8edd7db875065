//! The allocator of the program, and how it returns memory to the system.
#![expect(unsafe_code, reason = "mimalloc's options have no safe interface; one call, before there is another thread")]

/// Returns memory that rooms and requests no longer use; glibc's allocator keeps an arena for each thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Larger blocks are mapped by themselves and unmapped when they are freed: the 19 MiB of a password's hash, pictures
/// that are scaled, buffers of large files. From the allocator's own arenas they would be returned some time after a
/// delay, and on an idle server never. Messages and syncs need smaller ones.
const OWN_MAPPING_ABOVE_KIB: std::ffi::c_long = 8 * 1024;

/// `mi_option_arena_max_object_size` (KiB) of mimalloc 3.3, for which the crate has no name.
const ARENA_MAX_OBJECT_SIZE: libmimalloc_sys::mi_option_t = 45;
/// Another version of mimalloc may number its options otherwise: check there, and the test below.
const _: () = assert!(libmimalloc_sys::_mi_option_last == 47);

/// Sets the options; to be called first of all. An option in the environment (`MIMALLOC_ARENA_MAX_OBJECT_SIZE`) takes
/// precedence.
pub(crate) fn configure() {
    // SAFETY: no pointers; the option exists in the linked version; not safe to call on two threads, and there is one.
    unsafe { libmimalloc_sys::mi_option_set_default(ARENA_MAX_OBJECT_SIZE, OWN_MAPPING_ABOVE_KIB) };
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::hint::black_box;

    /// Resident memory in KiB that is not backed by files.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn memory_of_a_password_hash_is_returned_at_once() {
        super::configure();
        for _ in 0..2 {
            let before = resident();
            let memory = black_box(vec![1_u8; 19 << 20]);
            assert!(resident() > before + (18 << 10), "{before} KiB before");
            drop(memory);
            assert!(resident() < before + (1 << 10), "{before} KiB before, {} KiB afterwards", resident());
        }
    }
}
