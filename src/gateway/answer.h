#pragma once

#include <string>
#include <string_view>

#include "api/stream_watch.h"
#include "gateway/connection.h"
#include "http/framing.h"
#include "net/timer_wheel.h"

namespace sollol::gateway {

/// The client's side of the answer to one request: its head, its framing, its end, whichever and
/// however many nodes contribute to it.
///
/// Each attempt offers a head and says how its body comes; what the client has been given already
/// stands. While no node has answered, a stream may be begun with heartbeats (`keep_waiting`): from
/// then on a failure can only be told by an error record. Writing never waits: what the client does
/// not take at once is held by its connection, and whoever writes flushes before he writes more.
/// One worker thread; within the request.
class Answer {
 public:
  /// Bytes of an unfinished chunk that are held back, so that a record can still be put before it.
  static constexpr std::size_t carry_max = 64 * 1024;

  struct Head {
    int status = 200;
    std::string reason;
    std::string fields;  // whole lines with CRLF, without those of the framing
  };
  /// How a body is handed over: as payload, or with the chunk framing that it came in.
  enum class Passing : std::uint8_t { payload, raw };
  enum class End : std::uint8_t { more, last };  // last: the answer is complete with this

  /// `form`: of the answer that was asked for; it decides what an error record looks like.
  Answer(Connection& client, api::StreamForm form)
      : client_(client), asked_form_(form), form_(form), heartbeat_(*this) {}

  /// From now until payload comes, a stream gets an empty record every `interval`; the first brings
  /// its head. Nothing where the form has no such record or the client no chunks, and for zero.
  void keep_waiting(Duration interval);

  /// The head to send with the first byte, and the framing towards the client of a body that comes
  /// in `body`. `raw` is granted only where the client's framing is chunks too: ask `passes_raw`.
  void offer(Head head, const http::Framing& body, api::StreamForm form, Passing passing);
  bool passes_raw() const noexcept { return framing_ == Framing::raw_chunks; }

  /// The client has been given a head: no status can be told any more.
  bool begun() const noexcept { return begun_; }
  /// The client has been given payload of a node: the request cannot simply be sent to another one.
  bool committed() const noexcept { return committed_; }

  /// Payload, framed as offered.
  void write(std::string_view payload, End end = End::more);
  /// Bytes of a chunked body as they came, which `body` has been fed with: whole chunks go out, the
  /// rest is held. What ends a chunked body is never passed on: `end` says whether it may end.
  void pass_chunks(std::string_view raw, const http::BodyWatcher& body, End end);
  /// Holds raw bytes that precede the first payload.
  void hold(std::string_view raw) { carry_.append(raw); }
  /// A whole answer in one go: with its length, or, once begun, as the only payload.
  void write_whole(Head head, std::string_view body);

  /// Answers with an error: as it is, or, once the answer has begun, as its last record. `fields`:
  /// further lines of the head. Only while no payload has been written.
  net::Task<void> refuse(int status, std::string_view content_type, std::string body,
                         std::string fields = {});

  /// The answer broke off after it had begun: ends it with an error record in the form of its API,
  /// or, where the form has no word for it, with a reset. `mid_record`: part of a record has been
  /// written; `inside_chunk`: part of a raw chunk has.
  void fail(std::string_view message, bool mid_record, bool inside_chunk);
  /// Bytes held back.
  std::size_t held_back() const noexcept { return carry_.size(); }
  /// A chunk too large to hold back has gone out in part.
  bool inside_chunk() const noexcept { return inside_chunk_; }
  /// The node's body broke off after `fed` bytes of payload, of which `whole` are whole records:
  /// writes what is whole of that which is held back, and `missing_end`. False when the client has
  /// been given part of a record, or of a chunk.
  bool settle(std::uint64_t fed, std::uint64_t whole, std::string_view missing_end);
  /// Lines with CRLF that end a chunked answer.
  void set_trailer(std::string fields) { last_chunk_ = "0\r\n" + std::move(fields) + "\r\n"; }

 private:
  enum class Framing : std::uint8_t { raw_chunks, chunks, sized, until_close };

  bool chunked() const noexcept {
    return framing_ == Framing::raw_chunks || framing_ == Framing::chunks;
  }
  std::string_view take_settled(std::string_view piece, const http::BodyWatcher& body,
                                std::string& joined);
  void write_out(std::string_view bytes, End end);
  void commit(std::string_view bytes, std::string_view ending);
  void beat();

  /// Wakes while the client waits for the first payload.
  struct Heartbeat final : net::TimerWheel::Entry {
    explicit Heartbeat(Answer& owner) : answer(owner) {}
    void expired() override { answer.beat(); }
    Answer& answer;
    Duration interval{};
  };

  Connection& client_;
  api::StreamForm asked_form_;
  api::StreamForm form_;  // of what the present attempt writes
  Head head_;
  Framing framing_ = Framing::chunks;
  std::string carry_;  // raw bytes of an unfinished chunk, held back
  bool inside_chunk_ = false;
  std::string last_chunk_{http::last_chunk};
  bool passed_part_ = false;  // of a chunk
  bool begun_ = false;
  bool committed_ = false;
  Heartbeat heartbeat_;
};

/// Notes when the first byte of the answer's body went out.
void note_first_byte(Connection& client);

}  // namespace sollol::gateway
