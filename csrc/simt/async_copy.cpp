#include "simt/async_copy.h"

#include <cstring>

#include "simt/executor.h"

namespace alexnet::simt {
namespace {

bool aligned(const void* address, int bytes) {
  return reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(bytes) == 0;
}

// Delivers the copies of groups before `end`; a thread's copies lie in the order of their groups.
void deliver(Fiber& self, uint64_t end) {
  size_t delivered = 0;
  for (; delivered < self.copies.size() && self.copies[delivered].group < end; ++delivered) {
    const AsyncCopy& copy = self.copies[delivered];
    memcpy(copy.target, copy.source, copy.source_bytes);
    memset(static_cast<char*>(copy.target) + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
  }
  self.copies.erase(self.copies.begin(), self.copies.begin() + static_cast<std::ptrdiff_t>(delivered));
}

}  // namespace

void async_copy(void* target, const void* source, int bytes, int source_bytes, Site site) {
  Fiber& self = running_fiber();
  self.last_site = site;
  if (source_bytes < 0 || source_bytes > bytes) {
    fail("cp.async at %s takes %d bytes from its source for a target of %d", text(site).c_str(), source_bytes, bytes);
  }
  if (!aligned(target, bytes) || !aligned(source, bytes)) {
    fail("cp.async at %s of %d bytes from %p to %p; both must be multiples of its size", text(site).c_str(), bytes,
         source, target);
  }
  if (!self.runner->shared().contains(target, static_cast<size_t>(bytes))) {
    fail("cp.async at %s writes %d bytes to %p, which is not in an array of shared memory", text(site).c_str(), bytes,
         target);
  }
  memset(target, kPoison, static_cast<size_t>(bytes));
  AsyncCopy& copy = self.copies.emplace_back();
  copy.target = target;
  copy.source = source;
  copy.bytes = static_cast<uint32_t>(bytes);
  copy.source_bytes = static_cast<uint32_t>(source_bytes);
  copy.group = self.copy_group;
}

void async_commit() {
  ++running_fiber().copy_group;
}

void async_wait(int pending, Site site) {
  Fiber& self = running_fiber();
  self.last_site = site;
  const auto kept = static_cast<uint64_t>(pending);
  if (self.copy_group > kept) deliver(self, self.copy_group - kept);
}

void async_wait_all(Site site) {
  Fiber& self = running_fiber();
  self.last_site = site;
  deliver(self, self.copy_group + 1);
}

}  // namespace alexnet::simt
