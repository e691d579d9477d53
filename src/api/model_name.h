#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace sollol::api {

/// Where the caller wants a model to run: the `:cloud`, `-cloud` and `:local` suffixes.
enum class ModelSource : std::uint8_t { unspecified, local, cloud };

/// What two spellings of one model have in common: `host/namespace/model:tag` with the defaults
/// filled in, lower case.
///
/// A cloud model is another model than the local one of its name: both its spellings (`m:8b:cloud`,
/// `m:8b-cloud`) have the tag `8b-cloud`, and `m:cloud` has the tag `cloud`. `:local` is not part
/// of the key. A plain value without allocation; copying costs its length. Any thread. Source:
/// reference/ollama-api.md §3.
class ModelKey {
 public:
  /// Host 350, three parts of 80, three separators.
  static constexpr std::size_t length_max = 350 + 3 * 80 + 3;

  /// The key of a name as a client or node wrote it; nullopt when Ollama would call it invalid.
  static std::optional<ModelKey> from(std::string_view written) noexcept;

  ModelKey(const ModelKey& other) noexcept { *this = other; }
  ModelKey& operator=(const ModelKey& other) noexcept {
    size_ = other.size_;
    source_ = other.source_;
    std::memmove(text_, other.text_, size_);
    return *this;
  }

  std::string_view view() const noexcept { return {text_, size_}; }
  ModelSource source() const noexcept { return source_; }

  friend bool operator==(const ModelKey& a, const ModelKey& b) noexcept {
    return a.view() == b.view();
  }

 private:
  ModelKey() noexcept = default;
  void append(std::string_view part) noexcept;

  char text_[length_max];
  std::uint16_t size_ = 0;
  ModelSource source_ = ModelSource::unspecified;
};

/// The form that `/api/tags` shows: defaults left out, the tag always there, case as written.
/// A name that is not valid comes back unchanged.
std::string canonical_name(std::string_view written);

/// Whether the name asks for `:local` and for the cloud at once, which Ollama refuses with a text
/// of its own.
bool has_conflicting_source(std::string_view written) noexcept;

/// The namespace of a valid name (`library` when it names none), as `/v1/models` reports the owner.
std::string model_namespace(std::string_view written);

}  // namespace sollol::api

template <>
struct std::hash<sollol::api::ModelKey> {
  std::size_t operator()(const sollol::api::ModelKey& key) const noexcept {
    return std::hash<std::string_view>{}(key.view());
  }
};
