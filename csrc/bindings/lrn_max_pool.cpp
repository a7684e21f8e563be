#include "ops/lrn_max_pool.h"

#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

void lrn_max_pool_fprop(const LrnOptions& window, const Tensor& x, const Tensor& y, const OptionalTensor& argmax,
                        const PoolOptions& pool, uintptr_t stream) {
  const Images images = check_images(x);
  LrnMaxPoolFpropParams params{};
  params.dtype = x.floating();
  params.window = check_lrn_window(images.channels, window);
  params.shape = check_pool(images, pool);
  params.x = x.data<const void>();
  params.y = y.of_dtype(x.dtype.c_str()).of_shape(output_extents(params.shape)).data<void>();
  if (argmax) params.argmax = argmax->of_shape(y.shape).data<uint8_t>();
  check_disjoint(y, x);
  launch_lrn_max_pool_fprop(params, to_stream(stream));
}

void lrn_max_pool_bprop(const LrnOptions& window, const Tensor& dy, const Tensor& argmax, const Tensor& x,
                        const Tensor& dx, const PoolOptions& pool, bool relu, uintptr_t stream) {
  const Images images = check_images(x);
  LrnMaxPoolBpropParams params{};
  params.dtype = x.floating();
  params.window = check_lrn_window(images.channels, window);
  params.shape = check_pool(images, pool);
  params.relu = relu;
  params.dy = dy.of_dtype(x.dtype.c_str()).of_shape(output_extents(params.shape)).data<const void>();
  params.argmax = argmax.of_shape(dy.shape).data<const uint8_t>();
  params.x = x.data<const void>();
  params.dx = dx.like(x).data<void>();
  check_disjoint(dx, dy);
  check_disjoint(dx, x);
  launch_lrn_max_pool_bprop(params, to_stream(stream));
}

py::dict lrn_max_pool_choice(int64_t images, int64_t height, int64_t width, int64_t channels, int64_t groups,
                             int64_t size, const PoolOptions& pool, const std::string& dtype, bool aligned,
                             int64_t multiprocessors, int64_t multiprocessor_bytes) {
  const LrnWindow window = check_lrn_window(channels, {groups, size});
  const PoolShape shape = check_pool(check_images({images, height, width, channels}), pool);
  const LrnMaxPoolConfig config = lrn_max_pool_config({shape, window, dtype_bytes(parse_dtype(dtype)), aligned},
                                                      check_machine(multiprocessors, multiprocessor_bytes));
  return py::dict("vector"_a = config.vector, "block"_a = config.block, "rows"_a = config.rows,
                  "columns"_a = config.columns, "packs"_a = config.packs, "shared_bytes"_a = config.shared_bytes,
                  "grid"_a = config.grid);
}

}  // namespace

void bind_lrn_max_pool(py::module_& module) {
  bind_launch(module, "lrn_max_pool_fprop", &lrn_max_pool_fprop,
              "max_pool_fprop of lrn_fprop in one pass, bit for bit; argmax may be None: not wanted.", "window"_a,
              "x"_a, "y"_a, "argmax"_a, "pool"_a);
  bind_launch(module, "lrn_max_pool_bprop", &lrn_max_pool_bprop,
              "lrn_bprop of max_pool_bprop in one pass; x is the input of lrn_max_pool_fprop.", "window"_a, "dy"_a,
              "argmax"_a, "x"_a, "dx"_a, "pool"_a, "relu"_a);
  module.def("lrn_max_pool_fprop_config", &lrn_max_pool_choice, py::kw_only(), "images"_a, "height"_a, "width"_a,
             "channels"_a, "groups"_a, "size"_a, "pool"_a, "dtype"_a, "aligned"_a,
             "multiprocessors"_a = kReferenceMachine.multiprocessors,
             "multiprocessor_bytes"_a = kReferenceMachine.shared_bytes,
             "Launch choice of lrn_max_pool_fprop: rows * columns outputs and packs * vector channels a block; the GPU "
             "is an H200 by default.");
}

}  // namespace alexnet::bindings
