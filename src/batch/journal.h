#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "batch/result.h"

namespace sollol::batch {

/// What a batch has done, in a SQLite file, so that it can go on after anything that ended it.
///
/// What `keep` has returned for outlives the process, also one that is killed; a machine that loses
/// its power may lose the last moments. One process at a time, one thread at a time.
class Journal {
 public:
  /// Opens or makes the file. Errors: bad_input, when it is no journal, or one of a newer version;
  /// overloaded, when another process has it; forbidden, when it cannot be written.
  static Result<Journal> open(const std::string& path);
  Journal(Journal&&) noexcept;
  Journal& operator=(Journal&&) noexcept;
  ~Journal();

  /// Whose result it is: the line by its number and its fingerprint.
  struct Key {
    std::uint64_t line = 0;
    std::uint32_t part = 0;
    std::uint64_t print = 0;
  };
  struct Entry {
    Key key;
    TaskResult result;
  };
  /// All or none; an earlier result of the same part is replaced. Error: forbidden: no room, or the
  /// like.
  Result<void> keep(const std::vector<Entry>& entries);
  /// Every result, without its body, in the order in which they were kept.
  Result<void> for_each(const std::function<void(const Key&, int status)>& take);
  /// The results of a line's parts, in order.
  Result<std::vector<TaskResult>> of_line(std::uint64_t line);
  /// Forgets these results, so that they are worked out again.
  Result<void> forget(const std::vector<Key>& keys);

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sollol::batch
