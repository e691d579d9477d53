#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/routes.h"

namespace sollol::api {

/// Why an answer that broke off is not continued elsewhere. The text of each is for people and for
/// the label of a metric.
enum class Obstacle : std::uint8_t {
  none,
  turned_off,    // by the configuration or by the request
  api,           // the API has no way to continue: templated prompts, /v1/completions, responses
  tool_call,     // a tool call has been sent
  thinking,      // thinking has been sent
  format,        // a grammar would begin anew
  suffix,        // the text was to end in something given
  too_long,      // the answer or the request is larger than what is kept
  torn,          // the client has part of a record
  totals,        // only totals are missing, and they are not known
  unreadable,    // the request or the answer cannot be edited safely
  no_node,       // no other node with the same model could take it
  retry_limits,  // attempts or budget spent
  client_fault,  // the node's error is about the request
};
inline constexpr std::size_t obstacle_count = 14;

/// "tool_call": for labels.
std::string_view obstacle_name(Obstacle obstacle) noexcept;
/// In a sentence: "a tool call had been sent".
std::string_view obstacle_text(Obstacle obstacle) noexcept;

/// What a streamed answer has said to its client so far: all that another node needs to go on.
///
/// Fed with the records of the stream, one by one. A record that only carries a token costs a
/// comparison at the place where the last one had its text, and the copy of that text as it is
/// escaped on the wire: escaped pieces of whole records, joined, are a JSON string again. Allocates
/// by doubling, at most `text_max` bytes. One thread.
class Transcript {
 public:
  Transcript() = default;
  Transcript(Operation operation, std::size_t text_max) noexcept
      : operation_(operation), text_max_(text_max) {}

  Operation operation() const noexcept { return operation_; }

  /// A record of an answer: a line of NDJSON, or the data of an event, whole.
  void record(std::string_view data);
  /// A record was too large to be seen whole.
  void lost() noexcept { give_up(Obstacle::too_long); }
  /// What has been sent makes a continuation impossible; nothing is kept from here on.
  Obstacle obstacle() const noexcept { return obstacle_; }

  /// The text so far, escaped as in a JSON string, without quotes.
  std::string_view text() const noexcept { return text_; }
  /// Records that carried text: nodes send one for each token, and seldom one for a few.
  std::uint64_t tokens() const noexcept { return tokens_; }
  /// The record that says why the answer ended has been sent; only what follows it is missing.
  bool closing() const noexcept { return closing_; }

  /// OpenAI: the `id` and `created` that every chunk of the stream carries, as JSON.
  std::string_view id() const noexcept { return id_; }
  std::string_view created() const noexcept { return created_; }
  /// The model as the records name it, as JSON.
  std::string_view model() const noexcept { return model_; }
  /// Anthropic: the message has begun; a text block is open; the index that the next block has.
  bool message_open() const noexcept { return message_open_; }
  bool block_open() const noexcept { return block_open_; }
  std::uint64_t next_block() const noexcept { return next_block_; }

 private:
  template <std::size_t Key, std::size_t Tail>
  bool take_token(std::string_view data, const char (&key)[Key], const char (&tail)[Tail]);
  void append(std::string_view escaped);
  void append_value(std::string_view json);
  void native_record(std::string_view data);
  void openai_record(std::string_view data);
  void anthropic_record(std::string_view data);
  void message_fields(std::string_view message, std::string_view text_key);
  void give_up(Obstacle obstacle) noexcept;

  Operation operation_ = Operation::none;
  std::size_t text_max_ = 0;
  Obstacle obstacle_ = Obstacle::none;
  bool closing_ = false;
  bool message_open_ = false;
  bool block_open_ = false;
  std::size_t hint_ = 0;  // where the last record had its text
  std::uint64_t tokens_ = 0;
  std::uint64_t next_block_ = 0;
  std::string text_;
  std::string id_, created_, model_;
};

}  // namespace sollol::api
