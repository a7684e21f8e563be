// What launch choices know of a GPU; current_machine() of common/launch.h asks the one that is there.
#pragma once

namespace alexnet {

// Only choices that change no bit of a result may depend on it. No rates: the runtime does not tell what tensor cores
// do, and a rate scales all candidates of a choice nearly alike.
struct Machine {
  int multiprocessors;
  int shared_bytes;  // of a multiprocessor
};

// An H200. What decides the order of additions is chosen for it, on every GPU and on the CPU executor.
inline constexpr Machine kReferenceMachine{132, 228 * 1024};

}  // namespace alexnet
