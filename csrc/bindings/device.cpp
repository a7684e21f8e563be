#include "bindings/device.h"

#include <cuda_runtime.h>

#include "bindings/validate.h"
#include "common/check.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

int driver_version() {
  int version = 0;
  // 0 where there is no driver.
  ALEXNET_CUDA_CHECK(cudaDriverGetVersion(&version));
  return version;
}

int runtime_version() {
  int version = 0;
  ALEXNET_CUDA_CHECK(cudaRuntimeGetVersion(&version));
  return version;
}

int device_count() {
  int count = 0;
  ALEXNET_CUDA_CHECK(cudaGetDeviceCount(&count));
  return count;
}

int check_device(const char* name, int device) {
  return static_cast<int>(check_size(name, device, 0, device_count() - 1));
}

py::dict device_properties(int device) {
  cudaDeviceProp properties{};
  ALEXNET_CUDA_CHECK(cudaGetDeviceProperties(&properties, check_device("device", device)));
  return py::dict("name"_a = properties.name, "capability"_a = py::make_tuple(properties.major, properties.minor),
                  "memory_bytes"_a = properties.totalGlobalMem, "multiprocessors"_a = properties.multiProcessorCount);
}

bool can_access_peer(int device, int peer) {
  int possible = 0;
  ALEXNET_CUDA_CHECK(cudaDeviceCanAccessPeer(&possible, check_device("device", device), check_device("peer", peer)));
  return possible != 0;
}

}  // namespace

void bind_device(py::module_& module) {
  module.def("driver_version", &driver_version,
             "Newest CUDA version that the driver supports, such as 13000 for 13.0; 0 where there is no driver.");
  module.def("runtime_version", &runtime_version, "Version of the CUDA runtime linked in, such as 13000 for 13.0.");
  module.def("device_count", &device_count, "Number of GPUs; a RuntimeError where there is none or no driver.");
  module.def("device_properties", &device_properties, py::kw_only(), "device"_a,
             "Name, compute capability, memory and multiprocessors of a GPU.");
  module.def("can_access_peer", &can_access_peer, py::kw_only(), "device"_a, "peer"_a,
             "Whether a GPU reads another one's memory directly.");
}

}  // namespace alexnet::bindings
