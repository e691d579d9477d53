#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "api/stream_watch.h"
#include "api/transcript.h"
#include "base/time.h"

namespace sollol::api {

/// What to do so that an answer which broke off goes on.
struct Continuation {
  enum class Step : std::uint8_t {
    resend,  // nothing has been said yet: the request as it was, in `body`
    go_on,   // `body` asks for the rest
    close,   // nothing is left to ask for: only the end of the stream is missing
  };
  Step step = Step::resend;
  std::string body;
};

/// The request that makes another node go on where the answer to `body` broke off, or the reason
/// why there is none.
///
/// A chat gets a final assistant message with the text so far (or its own final one, longer), a raw
/// prompt the text behind it. The limit of the answer's length is lowered by what has been given.
/// Any other byte of the request stays as it came: there is no prompt of ours. Pure.
std::expected<Continuation, Obstacle> continuation_of(std::string_view body,
                                                      const Transcript& transcript);

/// Whether an error that a node sent inside a stream is about the request, so that any other node
/// would say the same.
bool is_request_fault(std::string_view error) noexcept;

/// What the nodes before the last one contributed to an answer.
struct Contribution {
  std::uint32_t resumes = 0;  // how often the stream was continued
  Duration total{};           // from the first attempt's start to the last one's
  Duration eval{};            // between their first and last tokens
};

/// Fits the answer of another node to what its client has seen: one stream, in one voice, with the
/// totals of the whole.
///
/// Ids are the first node's, openings are not repeated, Anthropic's blocks keep counting, and the
/// final record tells the sums and `"sollol_resumed"`. Everything else passes as it came. What the
/// client gets is recorded in the transcript, so that the stream can be continued again. Copies
/// each record: only streams that were continued pay for it. One thread.
class Splice {
 public:
  static constexpr std::size_t line_max = StreamWatcher::carry_max;

  /// `transcript` outlives it. The stream's next payload is its successor's first.
  Splice(StreamForm form, Transcript& transcript, Contribution before);

  /// The next payload of the new stream, cut anywhere; appends to `out` the records to send on.
  /// What comes after an error or after something that is no record is dropped.
  void feed(std::string_view payload, std::string& out);
  /// A last line without its line end.
  void end(std::string& out);
  /// A record was larger than `line_max`: the stream cannot be sent on.
  bool overrun() const noexcept { return overrun_; }

  /// The records that end a stream to which no node has anything to add: the length was reached, or
  /// only the terminator was missing.
  std::string closing_records(std::string_view created_at);

 private:
  void line(std::string_view text, std::string& out);
  void data(std::string_view data, std::string& out);
  void emit(std::string_view data, std::string& out);
  std::string native(std::string_view record) const;
  std::string openai(std::string_view chunk) const;
  void anthropic(std::string_view data, std::string& out);
  std::string closing_block() const;
  std::string counted(std::string_view usage, std::string_view prompt,
                      std::string_view output) const;

  StreamForm form_;
  Transcript& transcript_;
  Contribution before_;
  std::uint64_t given_;        // tokens before this node
  std::uint64_t first_block_;  // what this node's first block is to the client
  bool joins_block_;           // and whether it goes on with one that is open
  std::string carry_;
  bool overrun_ = false;
  bool stopped_ = false;
};

}  // namespace sollol::api
