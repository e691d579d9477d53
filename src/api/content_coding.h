#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "api/routes.h"
#include "base/result.h"

namespace sollol::api {

/// Ollama's own bound of a body after decompression (reference/ollama-api.md §1).
inline constexpr std::size_t unpacked_max_default = 20u << 20;

/// How a request's body may be read.
enum class BodyCoding : std::uint8_t { plain, zstd, unknown };

/// What a `Content-Encoding` asks for: zstd is understood on the routes where Ollama understands
/// it, `identity` everywhere, anything else nowhere.
BodyCoding body_coding(std::string_view content_encoding, Operation operation) noexcept;

/// Unpacks a zstd body piece by piece, so that whoever reads decides how much is too much.
///
/// Holds a window of at most `window_max` beside the body. One thread at a time; the packed bytes
/// must outlive it.
class ZstdReader {
 public:
  static constexpr std::size_t window_max = 32u << 20;

  explicit ZstdReader(std::string_view packed);
  ~ZstdReader();
  ZstdReader(const ZstdReader&) = delete;
  ZstdReader& operator=(const ZstdReader&) = delete;

  /// The next bytes into `room` (not empty); 0: that was all. Error: bad_input when the body is not
  /// zstd, is cut off or asks for a larger window.
  Result<std::size_t> read(std::span<char> room);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sollol::api
