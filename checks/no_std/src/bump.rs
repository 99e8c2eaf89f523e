//! The least allocator there is: it hands out a fixed arena once and takes nothing back.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

const SIZE: usize = 64 * 1024;

struct Bump {
    arena: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: `used` only grows (a plain load and store suffices: the proof has one thread, and small targets have no
// compare-and-swap), so no byte of the arena is handed out twice.
unsafe impl Sync for Bump {}

// SAFETY: a returned block lies within the arena, is aligned as asked for, and overlaps no other.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.arena.get().cast::<u8>();
        let used = self.used.load(Ordering::Relaxed);
        // SAFETY: `used` never exceeds SIZE.
        let padding = unsafe { base.add(used) }.align_offset(layout.align());
        let Some(start) = used.checked_add(padding) else { return null_mut() };
        let Some(end) = start.checked_add(layout.size()) else { return null_mut() };
        if end > SIZE {
            return null_mut();
        }
        self.used.store(end, Ordering::Relaxed);
        // SAFETY: start <= end <= SIZE.
        unsafe { base.add(start) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump { arena: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };
