#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/routes.h"
#include "api/transcript.h"
#include "api/usage.h"

namespace sollol::api {

/// How a response body is cut into records, and how it ends.
enum class StreamForm : std::uint8_t {
  opaque,           // not a stream, or not ours to judge
  ndjson_answer,    // lines; the last has "done":true
  ndjson_progress,  // lines; the last is {"status":"success"}
  sse_done,         // events; the last is [DONE]
  sse_responses,    // events; the last is response.completed, failed or incomplete
  sse_anthropic,    // events; the last is message_stop
};

/// The form of an operation's answer.
StreamForm stream_form(Operation operation, bool stream) noexcept;

/// Follows a response body that is relayed as raw bytes: has it ended properly, what did it report,
/// how many tokens.
///
/// A record that only carries a token costs a few comparisons; anything else is read for real, at
/// the top level only. Buffers nothing but a record that spans pieces, at most `carry_max` of it
/// plus its last `tail_max` bytes. Not thread-safe.
class StreamWatcher {
 public:
  static constexpr std::size_t carry_max = 1 << 20;
  static constexpr std::size_t tail_max = 4096;

  explicit StreamWatcher(StreamForm form) noexcept : form_(form) {}

  /// From here on every record of an answer is also shown to `transcript`, which outlives the
  /// watching. Null: to none.
  void record_to(Transcript* transcript) noexcept { transcript_ = transcript; }

  /// The next bytes of the body, without transfer coding, cut anywhere.
  void feed(std::string_view payload);

  /// The body has ended as its framing says: a last line without its line end counts, as clients
  /// count it.
  void end();

  StreamForm form() const noexcept { return form_; }
  /// The terminator was seen. Always true for `opaque`, whose end its framing tells.
  bool finished() const noexcept { return finished_ || form_ == StreamForm::opaque; }
  /// An error record was seen; the client has been told.
  bool failed() const noexcept { return failed_; }
  /// The text of that error.
  std::string_view error() const noexcept { return error_; }
  /// Records that carried output: about the tokens so far.
  std::uint64_t records() const noexcept { return records_; }
  const Usage& usage() const noexcept { return usage_; }
  /// Bytes of an unfinished line or event have been passed on.
  bool mid_record() const noexcept { return line_open_ || event_open_; }
  /// Something came that is no record of an answer in this form: the node lies. What follows is not
  /// shown to a transcript.
  bool garbled() const noexcept { return garbled_; }
  /// Bytes of the payload that are whole records (and no garbage). What a transcript was shown is
  /// exactly what they hold.
  std::uint64_t whole_bytes() const noexcept { return whole_bytes_; }
  /// What has to follow them so that they end as records: line ends that have not come.
  std::string_view missing_end() const noexcept { return missing_end_; }

 private:
  /// What a named event means to us.
  enum class Event : std::uint8_t { unnamed, delta, usage, ended, failed, error, other };

  void take_piece(std::string_view piece);
  void show(std::string_view record);
  void end_line(std::string_view piece);
  void line(std::string_view text);
  void answer_line(std::string_view text);
  void progress_line(std::string_view text);
  void sse_line(std::string_view text);
  void openai_data(std::string_view data);
  void named_data(std::string_view data);
  static Event event_named(StreamForm form, std::string_view name) noexcept;
  void fail(std::string_view raw_error);
  void read_usage(std::string_view text);

  StreamForm form_;
  bool finished_ = false;
  bool failed_ = false;
  bool line_open_ = false;        // the last byte fed was not a line end
  bool event_open_ = false;       // SSE: lines since the last blank one
  Event event_ = Event::unnamed;  // what the `event:` line of this event said
  bool garbled_ = false;
  std::uint64_t records_ = 0;
  std::uint64_t fed_bytes_ = 0;
  std::uint64_t whole_bytes_ = 0;
  std::string_view missing_end_;
  Transcript* transcript_ = nullptr;
  Usage usage_;
  std::string carry_;  // the start of an unfinished line
  std::string tail_;   // its end, once it outgrew the carry
  std::string error_;
};

/// The record that ends a broken stream so that the caller's client sees an error, never an answer
/// that looks whole. `mid_record`: bytes of an unfinished record came before, so it is closed
/// first. Empty for `opaque`.
std::string error_record(StreamForm form, std::string_view message, bool mid_record = false);

}  // namespace sollol::api
