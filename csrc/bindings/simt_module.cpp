#include "bindings/ops.h"
#include "bindings/validate.h"
#include "simt/launch.h"
#include "simt/memory.h"

namespace py = pybind11;
using namespace py::literals;
namespace simt = alexnet::simt;

PYBIND11_MODULE(_simt, module) {
  module.doc() =
      "The CUDA kernels compiled for the CPU executor. As `_cuda`, but every tensor lies in a buffer from allocate(), "
      "a "
      "call returns when its kernels are done, and what the executor finds wrong with a kernel is a RuntimeError.";
  module.def(
      "allocate",
      [](size_t bytes, const std::string& label) {
        return reinterpret_cast<uintptr_t>(simt::allocate(bytes, simt::default_placement(), label));
      },
      py::kw_only(), "bytes"_a, "label"_a, "Address of a new poisoned buffer between guard zones.");
  module.def(
      "release", [](uintptr_t address) { simt::release(reinterpret_cast<void*>(address)); }, py::kw_only(), "address"_a,
      "Give a buffer back; accesses to it fault from now on.");
  module.def("set_seed", &simt::set_seed, py::kw_only(), "value"_a,
             "The order in which threads and blocks run is drawn from it.");
  module.def("seed", &simt::seed, "What set_seed set, or ALEXNET_CUDA_SIMT_SEED, or 0.");
  module.def("set_thread_count", &simt::set_thread_count, py::kw_only(), "count"_a, "OS threads that run blocks.");
  module.def("thread_count", &simt::thread_count, "What set_thread_count set, or ALEXNET_CUDA_SIMT_THREADS, or 1.");
  module.def("set_mma_sums", &simt::set_mma_sums, py::kw_only(), "value"_a,
             "How products are added up: \"exact\", or \"truncated\" as tensor cores are published to do.");
  module.def(
      "mma_sums", [] { return simt::name(simt::mma_sums()); }, "What set_mma_sums set, or ALEXNET_CUDA_SIMT_MMA.");
  alexnet::bindings::is_allocated = &simt::is_guarded;
  alexnet::bindings::bind_ops(module);
}
