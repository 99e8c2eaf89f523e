//! Valgrind's client requests (valgrind/valgrind.h, valgrind/memcheck.h), without a C compiler.

const RUNNING_ON_VALGRIND: usize = 0x1001;
const MEMCHECK: usize = ((b'M' as usize) << 24) | ((b'C' as usize) << 16);
const MAKE_UNDEFINED: usize = MEMCHECK + 1;
const MAKE_DEFINED: usize = MEMCHECK + 2;

/// Outside valgrind these instructions do nothing.
#[cfg(target_arch = "x86_64")]
fn request(code: usize, address: usize, length: usize) -> usize {
    let arguments = [code, address, length, 0, 0, 0];
    let mut result = 0_usize;
    // SAFETY: the rotations add up to two turns of `rdi` and the exchange is one of a register with itself.
    unsafe {
        core::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") result,
            inout("rdi") 0_usize => _,
        );
    }
    result
}

pub fn is_watched() -> bool {
    request(RUNNING_ON_VALGRIND, 0, 0) > 0
}

/// Whatever depends on these octets is reported from now on.
pub fn secret<T: ?Sized>(of: &mut T) {
    request(MAKE_UNDEFINED, core::ptr::from_mut(of).cast::<u8>() as usize, size_of_val(of));
}

/// These may be looked at.
pub fn public<T: ?Sized>(of: &mut T) {
    request(MAKE_DEFINED, core::ptr::from_mut(of).cast::<u8>() as usize, size_of_val(of));
}
