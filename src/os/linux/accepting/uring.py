# Leaves one accept on descriptor 0 pending in an io_uring. Uses raw system calls, because the standard library has no
# binding.
import ctypes, mmap, struct
call = ctypes.CDLL(None, use_errno=True).syscall
SETUP, ENTER, OP_ACCEPT, SQES = 425, 426, 13, 0x10000000
params = (ctypes.c_uint32 * 30)()
ring = call(SETUP, 4, ctypes.byref(params))
if ring < 0:
    print('refused', flush=True)
    sys.exit()
entries, tail, array = params[0], params[11], params[16]
queue = mmap.mmap(ring, array + entries * 4, flags=mmap.MAP_SHARED, offset=0)
sqes = mmap.mmap(ring, entries * 64, flags=mmap.MAP_SHARED, offset=SQES)
sqes[0:16] = struct.pack('<BBHiQ', OP_ACCEPT, 0, 0, 0, 0)
struct.pack_into('<I', queue, array, 0)
struct.pack_into('<I', queue, tail, 1)
call(ENTER, ring, 1, 0, 0, None, 0)
print('pending', flush=True)
call(ENTER, ring, 0, 1, 1, None, 0)
