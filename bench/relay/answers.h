#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sollol::bench {

/// What a generate or chat request asks of the origin. `sim_rate` is ours: tokens per second of
/// this stream.
struct Ask {
  enum class Kind : std::uint8_t { generate, chat };
  enum class Form : std::uint8_t { stream, single };
  Kind kind = Kind::generate;
  Form form = Form::stream;
  std::uint32_t tokens = 100;         // "num_predict"
  std::chrono::nanoseconds period{};  // between two tokens, from "sim_rate"
};

/// Reads the fields above out of a request body by looking for their names; it is not a JSON
/// parser.
Ask parse_ask(Ask::Kind kind, std::string_view body);

/// Head of a streamed answer; chunks follow.
std::string_view stream_head();
/// The answer to stream:false, head and body.
std::string_view single_answer(Ask::Kind kind);
/// The last record of a stream, as a chunk, and the chunk that ends the body.
std::string_view stream_end(Ask::Kind kind);
/// Head and body of `GET path` for what Ollama answers itself; 404 for anything else.
std::string static_answer(std::string_view path);

/// One token's record as a chunk of about 110 bytes, whose text holds the token's number and its
/// time of sending.
class TokenChunk {
 public:
  explicit TokenChunk(Ask::Kind kind);
  /// Fills both in; the view is valid until the next call.
  std::string_view fill(std::uint32_t number, std::chrono::nanoseconds sent);

 private:
  std::string chunk_;
  std::size_t text_at_ = 0;
};

/// The marks that `TokenChunk::fill` left in a record; nothing when it holds none. Also finds the
/// end record.
struct TokenMarks {
  std::uint32_t number = 0;
  std::chrono::nanoseconds sent{};
};
std::optional<TokenMarks> read_marks(std::string_view record);
bool is_end_record(std::string_view record);

}  // namespace sollol::bench
