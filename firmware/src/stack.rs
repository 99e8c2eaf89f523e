//! How deep the stack gets: what lies below is painted, and looked at afterwards.

use core::ptr;

const PAINT: u32 = 0xc3a5_5ac3;

/// Left unpainted for the painter itself.
const MARGIN: usize = 64;

unsafe extern "C" {
    /// The lowest address that the stack may reach; from cortex-m-rt.
    static mut _stack_end: u32;
}

/// Runs `work` and tells how many octets of stack it used below its caller.
#[inline(never)]
pub fn depth_of(work: impl FnOnce()) -> usize {
    let here = cortex_m::register::msp::read() as usize;
    let end = &raw const _stack_end as usize;
    let mut address = end;
    while address < here - MARGIN {
        // SAFETY: nothing lives between the end of the stack and the stack pointer, but for the margin, which is left out.
        unsafe { ptr::write_volatile(address as *mut u32, PAINT) };
        address += 4;
    }
    work();
    let mut deepest = end;
    // SAFETY: as above; the memory is initialised, for it was painted.
    while deepest < here - MARGIN && unsafe { ptr::read_volatile(deepest as *const u32) } == PAINT {
        deepest += 4;
    }
    here - deepest
}
