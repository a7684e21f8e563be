#include "ops/augment.h"

#include "bindings/fold.h"
#include "bindings/images.h"
#include "bindings/ops.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

// y: the views themselves, or the views folded.
FoldShape check_view(const Tensor& y, const std::optional<FoldOptions>& folded) {
  if (!folded) {
    const Images view = check_images(y);
    if (view.height != view.width || view.channels < 3 || view.channels > 4) {
      y.fail("has views of " + std::to_string(view.height) + " x " + std::to_string(view.width) + " x " +
                 std::to_string(view.channels),
             "square ones of 3 or 4 channels");
    }
    return unfolded_view(static_cast<int>(view.images), static_cast<int>(view.height), static_cast<int>(view.channels));
  }
  const auto [height, width, channels] = folded->unfolded;
  const auto [folded_h, folded_w, folded_c] = folded->shape;
  if (height != width || channels != 3) {
    throw std::invalid_argument("folded is of views " + std::to_string(height) + " x " + std::to_string(width) + " x " +
                                std::to_string(channels) + "; expected square ones of 3 channels");
  }
  const int64_t count = check_images(y).images;
  y.of_shape({count, folded_h, folded_w, folded_c});
  return check_fold(count, height, width, channels, folded->stride, folded->padding, folded->shape, y.floating());
}

void augment(const Tensor& images, const Tensor& top, const Tensor& left, const Tensor& mirrored, const Tensor& shift,
             const Tensor& y, const std::array<double, 3>& mean, const std::array<double, 3>& std,
             bool reverse_channels, const std::optional<FoldOptions>& folded, uintptr_t stream) {
  AugmentParams params{};
  const Images given = check_images(images);
  params.dtype = y.floating();
  params.shape = check_view(y, folded);
  const int64_t count = params.shape.n, size = params.shape.h;
  if (size > given.height || size > given.width) {
    throw std::invalid_argument("the views' size is " + std::to_string(size) +
                                "; expected at most the images' extent, " + std::to_string(given.height) + " x " +
                                std::to_string(given.width));
  }
  for (int i = 0; i < 3; ++i) {
    check_finite("mean", mean[i]);
    check_finite("std", std[i], FLT_MIN);
    params.mean[i] = mean[i];
    params.std[i] = std[i];
  }
  params.height = static_cast<int>(given.height);
  params.width = static_cast<int>(given.width);
  params.channels = folded ? 3 : static_cast<int>(y.columns());
  params.reverse_channels = reverse_channels;
  params.images = images.of_shape({count, given.height, given.width, 3}).data<const uint8_t>();
  params.top = top.of_shape({count}).data<const int64_t>();
  params.left = left.of_shape({count}).data<const int64_t>();
  params.mirrored = mirrored.of_shape({count}).data<const uint8_t>();
  params.shift = shift.of_shape({count, 3}).data<const float>();
  params.y = y.data<void>(folded ? 16 : 0);
  launch_augment(params, to_stream(stream));
}

py::dict augment_choice(int64_t images, int64_t elements, const std::string& dtype, bool aligned) {
  check_size("images", images);
  check_image({{"elements", elements}});
  const AugmentConfig config = augment_config({images, elements, dtype_bytes(parse_dtype(dtype)), aligned});
  return describe_choice(config.vector, config.row);
}

}  // namespace

void bind_augment(py::module_& module) {
  bind_launch(module, "augment", &augment,
              "y = (pixel + shift - mean) / std of each uint8 image's view; a fourth channel is zero; the caller "
              "answers for corners that lie in the images. With `folded`, of the views, y is on 16 bytes and what "
              "conv2d_fold would make of them.",
              "images"_a, "top"_a, "left"_a, "mirrored"_a, "shift"_a, "y"_a, "mean"_a, "std"_a, "reverse_channels"_a,
              "folded"_a);
  module.def("augment_config", &augment_choice, py::kw_only(), "images"_a, "elements"_a, "dtype"_a, "aligned"_a,
             "Launch choice of augment; elements: of an image's y; aligned: y is a multiple of 16 bytes.");
}

}  // namespace alexnet::bindings
