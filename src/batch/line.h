#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/routes.h"
#include "base/result.h"

namespace sollol::batch {

/// How a line is written, and its result with it.
enum class LineForm : std::uint8_t {
  plain,       // the request's body
  batch_file,  // OpenAI's: custom_id, method, url, body
};

/// Texts of a list to embed that go to a node together: the rest of the list is embedded elsewhere
/// meanwhile. Fixed, so that a list is cut in the same way when a batch goes on.
inline constexpr std::size_t inputs_per_part = 16;

/// One token read costs about this share of one written (prefill runs some twenty times as fast).
inline constexpr double prompt_token_cost = 1.0 / 16;

/// Tokens that an answer is taken to have when its request does not say.
inline constexpr double output_tokens_prior = 128;

/// A request of a batch, as it stands in a line of the input.
struct Line {
  LineForm form = LineForm::plain;
  api::Operation operation = api::Operation::none;
  std::string target;      // "/api/chat"
  std::string body;        // as it is sent: never streamed
  std::string custom_id;   // a JSON value as written; of the batch file's form
  std::string model;       // what spellings of one model share
  std::size_t inputs = 0;  // of a list to embed
  /// What it is expected to cost, in tokens written: its limit of tokens where it has one, and what
  /// is to be read.
  double work = 0;

  /// In how many requests it is asked: more than one for a long list to embed.
  std::size_t parts() const noexcept {
    return inputs <= inputs_per_part ? 1 : (inputs + inputs_per_part - 1) / inputs_per_part;
  }
};

/// Reads a line. A plain line's API is told by `endpoint` ("/v1/chat/completions"), or, where that
/// is empty, by its fields: `messages` is a chat, `input` an embedding, `prompt` a generation;
/// OpenAI's where a field stands there that only its requests have, such as `max_tokens`, else
/// Ollama's. Error: bad_input, naming the field and the mend.
Result<Line> parse_line(std::string_view text, std::string_view endpoint);

/// The form and the `custom_id` of a line that cannot be read: its error is written in its form.
Line unreadable_line(std::string_view text);

/// What is sent for a part of the line: all of it when it has one part.
std::string part_body(const Line& line, std::size_t part);

/// A path that a batch may ask: "" (told by the fields), or a route for chats, generations and
/// embeddings.
bool is_batch_endpoint(std::string_view path) noexcept;

/// 64 bits of the line's text, to know it again. FNV-1a: the same in every build.
std::uint64_t fingerprint(std::string_view text) noexcept;

}  // namespace sollol::batch
