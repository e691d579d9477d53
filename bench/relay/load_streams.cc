#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "answers.h"
#include "http_reader.h"
#include "load.h"

namespace sollol::bench {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr Seconds kDrainLimit{20};  // how much longer than planned the streams may run on

struct Stream {
  Fd socket;
  HttpReader reader;
  std::string records;  // payload not yet split into lines
  std::uint32_t next_token = 0;
  bool end_seen = false;
};

class StreamRun {
 public:
  explicit StreamRun(const StreamLoad& load);
  StreamReport run();

 private:
  Nanoseconds span(Seconds seconds) const {
    return std::chrono::duration_cast<Nanoseconds>(seconds);
  }
  void open_all();
  void open(std::size_t seat);
  void pump(Nanoseconds limit);
  void on_event(std::size_t seat, std::uint32_t events);
  void on_read(std::size_t seat, std::string_view bytes, Nanoseconds arrived);
  bool take_record(std::size_t seat, std::string_view record, Nanoseconds arrived, Nanoseconds now);
  void end(std::size_t seat, std::string_view loss);
  std::size_t ended() const { return report_.ended_rightly + report_.lost; }

  const StreamLoad& load_;
  Poller poller_;
  std::vector<Stream> streams_;
  std::uint32_t tokens_each_;
  std::string request_;
  enum class Phase : std::uint8_t { around, measuring } phase_ = Phase::around;
  StreamReport report_;
  std::size_t running_ = 0;  // between their first token and their end
  std::vector<std::int64_t> to_socket_;
  std::vector<std::int64_t> to_client_;
};

Seconds opening_time(const StreamLoad& load) {
  return Seconds(static_cast<double>(load.streams) / load.opened_per_s + 1 / load.tokens_per_s) +
         load.slack;
}

StreamRun::StreamRun(const StreamLoad& load) : load_(load), streams_(load.streams) {
  const auto lifetime = opening_time(load) + load.warmup + load.measured + Seconds(1);
  tokens_each_ = static_cast<std::uint32_t>(std::ceil(lifetime.count() * load.tokens_per_s));
  const auto body =
      fmt::format(R"({{"model":"llama3.2","prompt":"Why is the sky blue?","stream":true,)"
                  R"("options":{{"num_predict":{},"sim_rate":{}}}}})",
                  tokens_each_, load.tokens_per_s);
  request_ = fmt::format(
      "POST /api/generate HTTP/1.1\r\nHost: {}\r\nAccept: application/x-ndjson\r\nContent-Type: "
      "application/json\r\n"
      "User-Agent: ollama-python/0.6.2 (x86_64 linux) Python/3.11\r\nContent-Length: "
      "{}\r\n{}\r\n{}",
      load.target.text(), body.size(), load.fields, body);
  const auto samples =
      static_cast<double>(load.streams) * load.tokens_per_s * load.measured.count();
  to_socket_.reserve(static_cast<std::size_t>(samples * 1.2));
  to_client_.reserve(to_socket_.capacity());
}

StreamReport StreamRun::run() {
  open_all();
  const auto warm = monotonic_now() + span(load_.warmup);
  for (auto now = warm - span(load_.warmup); now < warm; now = monotonic_now()) pump(warm - now);
  report_.open_at_once = running_;
  const auto before = sample_cpu(load_.watched);
  const auto start = monotonic_now();
  const auto stop = start + span(load_.measured);
  phase_ = Phase::measuring;
  for (auto now = start; now < stop; now = monotonic_now()) pump(stop - now);
  phase_ = Phase::around;
  report_.used = sample_cpu(load_.watched) - before;
  report_.seconds = Seconds(monotonic_now() - start).count();
  report_.held = sample_memory(load_.watched);
  report_.open_at_once = std::min(report_.open_at_once, running_);
  const auto give_up = monotonic_now() + span(opening_time(load_) + kDrainLimit);
  for (auto now = stop; now < give_up && ended() < streams_.size(); now = monotonic_now())
    pump(give_up - now);
  for (std::size_t seat = 0; seat < streams_.size(); ++seat) {
    if (streams_[seat].socket) end(seat, "did not end");
  }
  report_.to_socket = Spread::of(to_socket_);
  report_.to_client = Spread::of(to_client_);
  return report_;
}

/// Opens all streams at the pace asked for and waits for the first token of each, as long as that
/// may take.
void StreamRun::open_all() {
  const auto start = monotonic_now();
  const auto give_up = start + span(opening_time(load_));
  std::size_t seat = 0;
  for (auto now = start; now < give_up && report_.opened + report_.lost < streams_.size();
       now = monotonic_now()) {
    const auto due =
        static_cast<std::size_t>(Seconds(now - start).count() * load_.opened_per_s) + 1;
    for (; seat < std::min(due, streams_.size()); ++seat) open(seat);
    pump(seat < streams_.size() ? Nanoseconds(std::chrono::milliseconds(1)) : give_up - now);
  }
}

void StreamRun::open(std::size_t seat) {
  auto& stream = streams_[seat];
  stream.socket = connect_to(load_.target, seat);
  if (!stream.socket) return end(seat, "connection refused");
  ask_for_arrival_times(stream.socket);
  poller_.add(stream.socket, EPOLLOUT, seat);
}

void StreamRun::pump(Nanoseconds limit) {
  for (const auto& event : poller_.wait(limit)) on_event(event.data.u64, event.events);
}

void StreamRun::on_event(std::size_t seat, std::uint32_t events) {
  auto& stream = streams_[seat];
  if (events & EPOLLOUT && !(events & (EPOLLHUP | EPOLLERR))) {
    poller_.change(stream.socket, EPOLLIN, seat);
    const auto size = send(stream.socket.get(), request_.data(), request_.size(), MSG_NOSIGNAL);
    return size == static_cast<ssize_t>(request_.size()) ? void() : end(seat, "request not taken");
  }
  std::array<char, 16384> buffer;
  const auto read = read_with_arrival(stream.socket, buffer);
  if (read.size < 0) return errno == EAGAIN ? void() : end(seat, std::strerror(errno));
  if (read.size == 0) return end(seat, "connection closed before the end of the stream");
  on_read(seat, {buffer.data(), static_cast<std::size_t>(read.size)}, read.arrived);
}

void StreamRun::on_read(std::size_t seat, std::string_view bytes, Nanoseconds arrived) {
  auto& stream = streams_[seat];
  const auto now = realtime_now();
  if (phase_ == Phase::measuring) ++report_.reads;
  const auto taken = stream.reader.feed(bytes, stream.records);
  if (stream.reader.broken() || taken != bytes.size()) return end(seat, "bad framing");
  if (stream.reader.head_seen() && !stream.reader.start_line().starts_with("HTTP/1.1 200")) {
    return end(seat, stream.reader.start_line());
  }
  std::size_t from = 0;
  for (auto to = stream.records.find('\n'); to != std::string::npos;
       to = stream.records.find('\n', from)) {
    const auto record = std::string_view(stream.records).substr(from, to - from);
    if (!take_record(seat, record, arrived, now)) return end(seat, record);
    from = to + 1;
  }
  stream.records.erase(0, from);
  if (!stream.reader.complete()) return;
  const bool whole = stream.end_seen && stream.next_token == tokens_each_ && stream.records.empty();
  end(seat, whole ? "" : "ended without its end record");
}

/// False when the record does not follow those before it.
bool StreamRun::take_record(std::size_t seat, std::string_view record, Nanoseconds arrived,
                            Nanoseconds now) {
  auto& stream = streams_[seat];
  if (stream.end_seen) return false;
  if (is_end_record(record)) return stream.end_seen = true;
  const auto marks = read_marks(record);
  if (!marks || marks->number != stream.next_token) return false;
  if (stream.next_token++ == 0) {
    ++report_.opened;
    ++running_;
  }
  if (phase_ == Phase::measuring) {
    ++report_.tokens;
    to_socket_.push_back((arrived - marks->sent).count());
    to_client_.push_back((now - marks->sent).count());
  }
  return true;
}

/// `loss` says what went wrong, nothing when all went right.
void StreamRun::end(std::size_t seat, std::string_view loss) {
  if (loss.empty()) {
    ++report_.ended_rightly;
  } else if (report_.lost++ == 0) {
    report_.first_loss = loss;
  }
  if (streams_[seat].next_token > 0) --running_;
  streams_[seat].socket.close();
}

}  // namespace

StreamReport run_streams(const StreamLoad& load) { return StreamRun(load).run(); }

}  // namespace sollol::bench
