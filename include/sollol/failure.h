#pragma once

#include <string>

namespace sollol {

/// Why something could not be done, and the mend, for people.
struct Failure {
  std::string text;
  bool unreachable = false;  // the node did not answer: it is not the caller's input that is wrong
};

}  // namespace sollol
