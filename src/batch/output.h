#pragma once

#include <cstddef>
#include <fstream>
#include <string>
#include <vector>

#include "base/result.h"
#include "batch/input.h"
#include "batch/journal.h"

namespace sollol::batch {

enum class Order : std::uint8_t {
  input,     // a result waits for those before it
  finished,  // as they end
};

/// The file of results. It is written anew from the journal when a batch goes on, so a line that
/// was cut short by a kill is whole again; while a batch runs it is the beginning of what it will
/// be.
class Output {
 public:
  /// Error: forbidden: it cannot be written.
  static Result<Output> open(const std::string& path, Order order, std::size_t lines);
  /// The line at `index` has all its results in the journal. Writes what can be written now.
  Result<void> finished(std::size_t index, Input& input, Journal& journal);
  /// Hands all that was written to the operating system.
  Result<void> flush();

 private:
  Result<void> write(const InputLine& line, Input& input, Journal& journal);
  Error problem() const;

  std::string path_;
  Order order_ = Order::input;
  std::ofstream file_;
  std::vector<bool> ready_;
  std::size_t next_ = 0;  // that is not written yet, in the order of the input
};

}  // namespace sollol::batch
