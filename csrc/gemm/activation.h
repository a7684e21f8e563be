// What a layer applies to its sums.
#pragma once

#include <stdexcept>
#include <string>

namespace alexnet {

enum class Activation : int { kNone, kRelu, kTanh, kLogistic };

inline Activation parse_activation(const std::string& name) {
  if (name == "none") return Activation::kNone;
  if (name == "relu") return Activation::kRelu;
  if (name == "tanh") return Activation::kTanh;
  if (name == "logistic") return Activation::kLogistic;
  throw std::invalid_argument("activation is \"" + name + "\"; expected none, relu, tanh or logistic");
}

}  // namespace alexnet
