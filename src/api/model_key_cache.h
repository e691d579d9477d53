#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "api/model_name.h"

namespace sollol::api {

/// The keys of names that were asked for lately. Clients write few names and each of them often,
/// and taking a name apart costs about a thousand instructions. One thread.
class ModelKeyCache {
 public:
  /// `ModelKey::from(written)`; valid until the next call.
  const std::optional<ModelKey>& find(std::string_view written) {
    Entry& entry = entries_[std::hash<std::string_view>{}(written) % entries_.size()];
    if (entry.written == written && entry.filled) return entry.key;
    entry.filled = written.size() <= ModelKey::length_max;  // longer ones are not kept
    entry.written = entry.filled ? written : std::string_view();
    entry.key = ModelKey::from(written);
    return entry.key;
  }

 private:
  struct Entry {
    bool filled = false;
    std::string written;
    std::optional<ModelKey> key;
  };
  std::array<Entry, 32> entries_;
};

}  // namespace sollol::api
