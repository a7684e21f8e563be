#include "ops/augment.h"

#include <array>

#include <pybind11/stl.h>

#include "bindings/fold.h"
#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

constexpr FoldExtents kUnfolded{0, 0, 0};

// The views' own shape, or that of the views folded.
FoldShape check_view(int64_t count, int64_t size, int64_t channels, const Pair& stride, const Pair& padding,
                     const FoldExtents& extents, DType dtype) {
  check_size("size", size, 1);
  check_size("channels", channels, 3, extents == kUnfolded ? 4 : 3);
  check_size("count", count);
  check_image({{"size", size}, {"size", size}, {"channels", channels}});
  if (extents != kUnfolded) return check_fold(count, size, size, 3, stride, padding, extents, dtype);
  return unfolded_view(static_cast<int>(count), static_cast<int>(size), static_cast<int>(channels));
}

void augment(uintptr_t images, uintptr_t top, uintptr_t left, uintptr_t mirrored, uintptr_t shift, uintptr_t y,
             int64_t count, int64_t height, int64_t width, int64_t size, int64_t channels,
             const std::array<double, 3>& mean, const std::array<double, 3>& std, bool reverse_channels,
             const std::string& dtype, uintptr_t stream, const Pair& fold_stride, const Pair& fold_padding,
             const FoldExtents& fold_shape) {
  AugmentParams params{};
  params.dtype = parse_dtype(dtype);
  const int64_t pixels = check_batch("count", count, check_image({{"height", height}, {"width", width}, {"3", 3}}));
  params.shape = check_view(count, size, channels, fold_stride, fold_padding, fold_shape, params.dtype);
  if (size > height || size > width) {
    throw std::invalid_argument("size is " + std::to_string(size) + "; expected at most the images' extent, " +
                                std::to_string(height) + " x " + std::to_string(width));
  }
  const bool folded = fold_shape != kUnfolded;
  check_batch("count", count, size * size * channels);
  for (int i = 0; i < 3; ++i) {
    check_finite("mean", mean[i]);
    check_finite("std", std[i], FLT_MIN);
    params.mean[i] = mean[i];
    params.std[i] = std[i];
  }
  params.height = static_cast<int>(height);
  params.width = static_cast<int>(width);
  params.channels = static_cast<int>(channels);
  params.reverse_channels = reverse_channels;
  params.images = check_pointer<const uint8_t>("images", images, pixels, 1);
  params.top = check_pointer<const int64_t>("top", top, count, sizeof(int64_t));
  params.left = check_pointer<const int64_t>("left", left, count, sizeof(int64_t));
  params.mirrored = check_pointer<const uint8_t>("mirrored", mirrored, count, 1);
  params.shift = check_pointer<const float>("shift", shift, 3 * count, sizeof(float));
  params.y = check_pointer<void>("y", y, params.shape.folded_count(), dtype_bytes(params.dtype), folded ? 16 : 0);
  launch_augment(params, to_stream(stream));
}

py::dict augment_choice(int64_t images, int64_t elements, const std::string& dtype, bool aligned) {
  check_size("images", images);
  check_image({{"elements", elements}});
  const AugmentConfig config = augment_config({images, elements, dtype_bytes(parse_dtype(dtype)), aligned});
  py::dict result;
  result["vector"] = config.vector;
  result["block"] = config.row.block;
  result["blocks_per_image"] = config.row.blocks_per_row;
  result["grid"] = config.row.grid;
  return result;
}

}  // namespace

void bind_augment(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("augment", &augment, py::kw_only(), py::arg("images"), py::arg("top"), py::arg("left"),
             py::arg("mirrored"), py::arg("shift"), py::arg("y"), py::arg("count"), py::arg("height"), py::arg("width"),
             py::arg("size"), py::arg("channels"), py::arg("mean"), py::arg("std"), py::arg("reverse_channels"),
             py::arg("dtype"), py::arg("stream"), py::arg("fold_stride") = Pair{1, 1},
             py::arg("fold_padding") = Pair{0, 0}, py::arg("fold_shape") = kUnfolded, Unlocked(),
             "y = (pixel + shift - mean) / std of each uint8 image's view; a fourth channel is zero; the caller "
             "answers for corners that lie in the images. With fold_shape (height, width, channels) y is on 16 bytes "
             "and what conv2d_fold would make of the views.");
  module.def("augment_config", &augment_choice, py::kw_only(), py::arg("images"), py::arg("elements"), py::arg("dtype"),
             py::arg("aligned"),
             "Launch choice of augment; elements: of an image's y; aligned: y is a multiple of 16 bytes.");
}

}  // namespace alexnet::bindings
