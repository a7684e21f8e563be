#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings/options.h"
#include "cpu/isa.h"

namespace py = pybind11;

namespace alexnet::cpu {
namespace {

using Pair = std::pair<int64_t, int64_t>;
using Optional = py::object;  // an array, or None

// The instruction sets that this processor has, best first.
std::vector<const Isa*> supported() {
  std::vector<const Isa*> sets;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")) {
    sets.push_back(&avx512::kIsa);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(&avx2::kIsa);
#endif
  sets.push_back(&generic::kIsa);
  return sets;
}

const Isa* active = supported().front();

void select_instruction_set(const std::string& name) {
  for (const Isa* isa : supported()) {
    if (name == isa->name) {
      active = isa;
      return;
    }
  }
  throw std::invalid_argument("this processor has no instruction set \"" + name + "\"");
}

// Threads run() it together; the arrays that it works on stay alive with it.
class PyWork {
 public:
  PyWork(Work* work, std::vector<py::object> arrays) : work_(work), arrays_(std::move(arrays)) {}
  int tiles() const { return work_->tiles(); }
  int64_t workspace_bytes() const { return work_->workspace_bytes(); }
  void run(uintptr_t workspace, bool packed) { work_->run(reinterpret_cast<float*>(workspace), packed); }

 private:
  std::unique_ptr<Work> work_;
  std::vector<py::object> arrays_;
};

// Where a float32 array lies, null for None. Its last dimension is dense.
const float* data(const py::object& object) {
  if (object.is_none()) return nullptr;
  if (!py::isinstance<py::array_t<float>>(object)) throw py::type_error("expected a float32 array");
  return static_cast<const float*>(py::reinterpret_borrow<py::array>(object).data());
}

// Of one that is written; throws where it is read-only.
void* writable(const py::object& object) {
  return object.is_none() ? nullptr : py::reinterpret_borrow<py::array>(object).mutable_data();
}
float* output(const py::object& object) {
  data(object);  // checks the type
  return static_cast<float*>(writable(object));
}

int narrow(int64_t number, int64_t most = std::numeric_limits<int>::max()) {
  if (number > most) {
    throw std::invalid_argument("an extent, pitch, stride or padding is " + std::to_string(number) +
                                "; expected at most " + std::to_string(most) + " on the CPU");
  }
  return static_cast<int>(number);
}

int extent(const py::array& array, py::ssize_t dimension) {
  return narrow(array.shape(dimension));
}

// From one position (row of a matrix) to the next.
int pitch(const py::array& array) {
  if (array.flags() & py::array::c_style) return extent(array, array.ndim() - 1);
  return narrow(array.strides(array.ndim() - 2) / static_cast<py::ssize_t>(sizeof(float)));
}

Conv2dProblem problem(const py::array& x, const py::array& y, const py::array& weight, Pair stride, Pair padding,
                      int groups) {
  Conv2dProblem p{};
  constexpr int64_t kMost = 1 << 28;  // of what is added up
  p.N = extent(x, 0), p.H = narrow(x.shape(1), kMost), p.W = narrow(x.shape(2), kMost), p.C = extent(x, 3);
  p.K = extent(weight, 0), p.R = extent(weight, 1), p.S = extent(weight, 2);
  p.P = extent(y, 1), p.Q = extent(y, 2);
  p.stride_h = narrow(stride.first, kMost), p.stride_w = narrow(stride.second, kMost);
  p.padding_h = narrow(padding.first, kMost), p.padding_w = narrow(padding.second, kMost);
  narrow(int64_t{p.P} * p.stride_h + p.R), narrow(int64_t{p.Q} * p.stride_w + p.S);  // how far the filters reach
  p.groups = groups;
  p.x_pitch = pitch(x), p.y_pitch = pitch(y), p.weight_pitch = pitch(weight);
  return p;
}

// Of SgdParams, or None; `rate` keeps the learning rate [1], which may have been a number.
Sgd parse_sgd(const py::object& params, py::object& rate) {
  bindings::SgdOptions options{};
  if (params.is_none()) return {};
  if (!options.read(params)) throw py::type_error("expected SgdParams");
  rate = py::array_t<float>::ensure(params.attr("learning_rate"));
  return {output(params.attr("weight")),
          output(params.attr("velocity")),
          nullptr,
          data(rate),
          static_cast<float>(options.rate_factor),
          static_cast<float>(options.momentum),
          static_cast<float>(options.weight_decay),
          static_cast<float>(options.gradient_scale)};
}

PyWork conv2d_fprop(py::array x, py::array weight, Optional bias, Optional addend, py::array y, Pair stride,
                    Pair padding, int groups, const std::string& activation) {
  const Conv2dFpropParams params{problem(x, y, weight, stride, padding, groups),
                                 data(x),
                                 data(weight),
                                 data(bias),
                                 data(addend),
                                 output(y),
                                 false,
                                 parse_activation(activation),
                                 {},
                                 nullptr};
  return {active->conv2d_fprop(params), {x, weight, bias, addend, y}};
}

PyWork conv2d_dgrad(py::array dy, py::array weight, Optional mask, float mask_scale, Optional addend, py::array dx,
                    Pair stride, Pair padding, int groups) {
  const Conv2dDgradParams params{problem(dx, dy, weight, stride, padding, groups),
                                 data(dy),
                                 data(weight),
                                 data(mask),
                                 mask_scale,
                                 data(addend),
                                 output(dx),
                                 false,
                                 nullptr};
  return {active->conv2d_dgrad(params), {dy, weight, mask, addend, dx}};
}

// `like`: the gradient, or the weights; their layout is the other's.
PyWork conv2d_wgrad(py::array x, py::array dy, py::array like, Optional dweight, Optional dbias, bool accumulate,
                    py::object sgd, Pair stride, Pair padding, int groups) {
  py::object rate;
  const Conv2dWgradParams params{problem(x, dy, like, stride, padding, groups),
                                 data(x),
                                 data(dy),
                                 output(dweight),
                                 output(dbias),
                                 accumulate,
                                 parse_sgd(sgd, rate),
                                 nullptr};
  return {active->conv2d_wgrad(params), {x, dy, like, dweight, dbias, sgd, rate}};
}

PyWork linear_fprop(py::array x, py::array weight, Optional bias, Optional addend, py::array y,
                    const std::string& activation, bool keep) {
  const LinearFpropParams params{extent(x, 0),  extent(x, 1), extent(weight, 0), pitch(x),
                                 pitch(weight), pitch(y),     data(x),           data(weight),
                                 data(addend),  data(bias),   output(y),         parse_activation(activation)};
  return {active->linear_fprop(params, keep), {x, weight, bias, addend, y}};
}

PyWork linear_dgrad(py::array dy, py::array weight, Optional mask, float mask_scale, Optional addend, py::array dx) {
  const LinearDgradParams params{extent(dy, 0), extent(weight, 1), extent(weight, 0), pitch(dy),
                                 pitch(weight), pitch(dx),         data(dy),          data(weight),
                                 data(addend),  data(mask),        mask_scale,        output(dx)};
  return {active->linear_dgrad(params), {dy, weight, mask, addend, dx}};
}

PyWork linear_wgrad(py::array x, py::array dy, py::array like, Optional dweight, Optional dbias, bool accumulate,
                    py::object sgd) {
  py::object rate;
  const LinearWgradParams params{extent(x, 0),    extent(x, 1),  extent(dy, 1), pitch(x),
                                 pitch(dy),       pitch(like),   data(x),       data(dy),
                                 output(dweight), output(dbias), accumulate,    parse_sgd(sgd, rate)};
  return {active->linear_wgrad(params), {x, dy, like, dweight, dbias, sgd, rate}};
}

using Window = std::optional<bindings::LrnOptions>;

LrnWindow parse_window(const Window& given) {
  if (!given) return {1, 1, 1.f, 0.f, 0.75f};
  return {narrow(given->size), narrow(given->groups), static_cast<float>(given->k), static_cast<float>(given->alpha),
          static_cast<float>(given->beta)};
}

using Pool = std::optional<bindings::PoolOptions>;

// `x` stands for its gradient too.
PoolShape parse_pool(const Pool& given, const py::array& x) {
  const int h = extent(x, 1), w = extent(x, 2);
  if (!given) return {extent(x, 0), h, w, extent(x, 3), h, w, 1, 1, 0, 0};
  const bindings::PoolOptions& p = *given;
  return {extent(x, 0),
          h,
          w,
          extent(x, 3),
          narrow(p.output[0]),
          narrow(p.output[1]),
          narrow(p.size),
          narrow(p.stride),
          narrow(p.padding[0]),
          narrow(p.padding[1])};
}

// `window` is None for no normalisation, `pool` for no pool.
PyWork pool_fprop(py::array x, py::array y, Optional argmax, const Window& window, const Pool& pool) {
  const PoolFpropParams params{parse_pool(pool, x),
                               window.has_value(),
                               parse_window(window),
                               data(x),
                               output(y),
                               static_cast<uint8_t*>(writable(argmax))};
  return {active->pool_fprop(params), {x, y, argmax}};
}

PyWork pool_bprop(py::array dy, Optional argmax, Optional x, Optional y, py::array dx, const Window& window,
                  const Pool& pool, bool relu) {
  const PoolBpropParams params{parse_pool(pool, dx),
                               window.has_value(),
                               parse_window(window),
                               data(dy),
                               argmax.is_none() ? nullptr : static_cast<const uint8_t*>(py::array(argmax).data()),
                               data(x),
                               data(y),
                               relu,
                               output(dx)};
  return {active->pool_bprop(params), {dy, argmax, x, y, dx}};
}

PyWork dropout_apply(py::array x, py::array y, const bindings::DropoutOptions& dropout, uint64_t step) {
  const DropoutParams params{data(x),
                             output(y),
                             x.shape(0),
                             x.shape(1),
                             {nullptr, dropout.seed, dropout.purpose, dropout.rate, static_cast<float>(dropout.scale),
                              dropout.start, dropout.row_stride},
                             DType::kFloat32};
  return {active->dropout_apply(params, step, pitch(x), pitch(y)), {x, y}};
}

PyWork sgd_update(py::object sgd, py::array gradient) {
  py::object rate;
  const Sgd parsed = parse_sgd(sgd, rate);
  return {active->sgd_update(parsed, data(gradient), gradient.size()), {sgd, rate, gradient}};
}

}  // namespace
}  // namespace alexnet::cpu

PYBIND11_MODULE(_cpu, module) {
  using namespace alexnet::cpu;
  module.doc() =
      "The operations on float32 arrays in main memory, compiled for the instruction sets of this processor.";
  module.def(
      "instruction_sets",
      [] {
        std::vector<std::string> names;
        for (const Isa* isa : supported()) names.push_back(isa->name);
        return names;
      },
      "What select() takes on this processor, best first.");
  module.def("selected", [] { return active->name; }, "What is computed with.");
  module.def("select", &select_instruction_set, py::arg("name"), "Compute with this instruction set from now on.");
  py::class_<PyWork>(module, "Work", "An operation cut into tiles, for any number of threads.")
      .def_property_readonly("tiles", &PyWork::tiles)
      .def_property_readonly("workspace_bytes", &PyWork::workspace_bytes)
      .def("run", &PyWork::run, py::arg("workspace"), py::arg("packed") = false,
           py::call_guard<py::gil_scoped_release>(),
           "Take tiles until none is left; the workspace's address is the same for all threads. `packed`: it holds the "
           "packed weights already, which an earlier work on the same ones left there.");
  module.def("conv2d_fprop", &conv2d_fprop, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("addend"),
             py::arg("out"), py::kw_only(), py::arg("stride"), py::arg("padding"), py::arg("groups"),
             py::arg("activation"));
  module.def("conv2d_dgrad", &conv2d_dgrad, py::arg("dy"), py::arg("weight"), py::arg("mask"), py::arg("mask_scale"),
             py::arg("addend"), py::arg("out"), py::kw_only(), py::arg("stride"), py::arg("padding"),
             py::arg("groups"));
  module.def("conv2d_wgrad", &conv2d_wgrad, py::arg("x"), py::arg("dy"), py::arg("like"), py::arg("dweight"),
             py::arg("dbias"), py::arg("accumulate"), py::arg("sgd"), py::kw_only(), py::arg("stride"),
             py::arg("padding"), py::arg("groups"));
  module.def("linear_fprop", &linear_fprop, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("addend"),
             py::arg("out"), py::arg("activation"), py::arg("keep") = false);
  module.def("linear_dgrad", &linear_dgrad, py::arg("dy"), py::arg("weight"), py::arg("mask"), py::arg("mask_scale"),
             py::arg("addend"), py::arg("out"));
  module.def("linear_wgrad", &linear_wgrad, py::arg("x"), py::arg("dy"), py::arg("like"), py::arg("dweight"),
             py::arg("dbias"), py::arg("accumulate"), py::arg("sgd"));
  module.def("pool_fprop", &pool_fprop, py::arg("x"), py::arg("out"), py::arg("argmax"), py::arg("window"),
             py::arg("pool"));
  module.def("pool_bprop", &pool_bprop, py::arg("dy"), py::arg("argmax"), py::arg("x"), py::arg("y"), py::arg("out"),
             py::arg("window"), py::arg("pool"), py::arg("relu"));
  module.def("dropout_apply", &dropout_apply, py::arg("x"), py::arg("out"), py::arg("dropout"), py::arg("step"));
  module.def("sgd_update", &sgd_update, py::arg("sgd"), py::arg("gradient"));
}
