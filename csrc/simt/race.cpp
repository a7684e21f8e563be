#include "simt/race.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <cstdio>
#include <new>
#include <string>

#include "simt/executor.h"

namespace alexnet::simt {
namespace {

// "file.cu:12", by addr2line; where there is none, the address within the program.
std::string source_line(const void* code) {
  Dl_info info;
  if (dladdr(code, &info) == 0) return "an unknown place";
  // The call's own instruction comes before the one it returns to.
  const size_t offset = static_cast<const char*>(code) - static_cast<const char*>(info.dli_fbase) - 1;
  char command[600], line[600] = "";
  snprintf(command, sizeof(command), "addr2line -e '%s' 0x%zx 2>/dev/null", info.dli_fname, offset);
  if (FILE* const output = popen(command, "r")) {
    if (fgets(line, sizeof(line), output) == nullptr) line[0] = '\0';
    pclose(output);
  }
  std::string text = line;
  text.erase(text.find_last_not_of('\n') + 1);
  const size_t name = text.rfind('/');
  if (name != std::string::npos) text.erase(0, name + 1);
  const size_t note = text.find(" (discriminator");
  if (note != std::string::npos) text.erase(note);
  if (!text.empty() && text[0] != '?') return text;
  snprintf(line, sizeof(line), "instruction 0x%zx", offset);
  return line;
}

}  // namespace

void RaceDetector::access(uint64_t run, const Progress& progress, size_t offset, unsigned bytes, bool write,
                          const void* code) {
  if (cells_ == nullptr) {
    const size_t size = SharedMemory::most_extent() * sizeof(Cell);
    void* const memory =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    cells_ = {static_cast<Cell*>(memory),
              [](Cell* cells) { munmap(cells, SharedMemory::most_extent() * sizeof(Cell)); }};
  }
  Fiber& self = running_fiber();
  BlockRunner& runner = *self.runner;
  const Access now = {run, code, progress.block, progress.warp[self.warp->index], runner.number(self)};
  const auto conflicts = [&](const Access& earlier) {
    return earlier.run == run && earlier.thread != now.thread && earlier.block == now.block &&
           (earlier.thread / kWarpSize != now.thread / kWarpSize || earlier.warp == now.warp);
  };
  const auto check = [&](const Access& earlier, const char* what) {
    if (!conflicts(earlier)) return;
    fail("race in %s: it %s at %s what thread %s %s at %s, with no barrier between",
         runner.shared().describe_offset(offset).c_str(), write ? "writes" : "reads", source_line(code).c_str(),
         text(runner.thread_index(earlier.thread)).c_str(), what, source_line(earlier.code).c_str());
  };
  for (unsigned i = 0; i < bytes; ++i, ++offset) {
    Cell& cell = cells_[offset];
    check(cell.written, "writes");
    if (write) {
      for (const Access& read : cell.read) check(read, "reads");
      cell.written = now;
    } else {
      // The one that is this thread's own or can conflict no more gives way.
      Access& first = cell.read[0];
      (first.run == run && first.thread == now.thread) || !conflicts(first) ? first = now : cell.read[1] = now;
    }
  }
}

namespace {

// Kept out of the hooks, which run for the host's code and for private memory too.
__attribute__((noinline)) void in_kernel(const void* address, unsigned bytes, bool write, const void* code) {
  running_fiber().runner->access(address, bytes, write, code);
}

inline void seen(const void* address, unsigned bytes, bool write, const void* code) {
  if (running_thread != nullptr) in_kernel(address, bytes, write, code);
}

}  // namespace
}  // namespace alexnet::simt

#define ALEXNET_SEEN(name, bytes, write)                                     \
  extern "C" void name(void* address) {                                      \
    alexnet::simt::seen(address, bytes, write, __builtin_return_address(0)); \
  }
ALEXNET_SEEN(__tsan_read1, 1, false)
ALEXNET_SEEN(__tsan_read2, 2, false)
ALEXNET_SEEN(__tsan_read4, 4, false)
ALEXNET_SEEN(__tsan_read8, 8, false)
ALEXNET_SEEN(__tsan_read16, 16, false)
ALEXNET_SEEN(__tsan_write1, 1, true)
ALEXNET_SEEN(__tsan_write2, 2, true)
ALEXNET_SEEN(__tsan_write4, 4, true)
ALEXNET_SEEN(__tsan_write8, 8, true)
ALEXNET_SEEN(__tsan_write16, 16, true)
#undef ALEXNET_SEEN

extern "C" {

void __tsan_read_range(void* address, size_t bytes) {
  alexnet::simt::seen(address, static_cast<unsigned>(bytes), false, __builtin_return_address(0));
}
void __tsan_write_range(void* address, size_t bytes) {
  alexnet::simt::seen(address, static_cast<unsigned>(bytes), true, __builtin_return_address(0));
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

// Atomic operations race with none of their kind; with others they are not checked.
uint32_t __tsan_atomic32_load(const volatile uint32_t* address, int) {
  return __atomic_load_n(address, __ATOMIC_SEQ_CST);
}
uint64_t __tsan_atomic64_load(const volatile uint64_t* address, int) {
  return __atomic_load_n(address, __ATOMIC_SEQ_CST);
}
int __tsan_atomic32_compare_exchange_weak(volatile uint32_t* address, uint32_t* expected, uint32_t value, int, int) {
  return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
int __tsan_atomic64_compare_exchange_weak(volatile uint64_t* address, uint64_t* expected, uint64_t value, int, int) {
  return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
void __tsan_atomic_thread_fence(int) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

}  // extern "C"
