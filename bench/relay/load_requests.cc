#include <sys/socket.h>

#include <fmt/format.h>
#include <array>
#include <cerrno>
#include <deque>

#include "answers.h"
#include "http_reader.h"
#include "load.h"

namespace sollol::bench {
namespace {

struct Client {
  Fd socket;
  HttpReader reader;
  std::string body;
  Nanoseconds asked{};
};

class RequestRun {
 public:
  explicit RequestRun(const RequestLoad& load);
  RequestReport run();

 private:
  void open(std::size_t seat);
  void ask(std::size_t seat, Nanoseconds due);
  void ask_what_is_due();
  bool paced() const { return load_.per_s > 0; }
  void on_event(std::size_t seat, std::uint32_t events);
  void on_answer(std::size_t seat);
  void fail(std::size_t seat);
  void pump_until(Nanoseconds end);
  void go_on(std::size_t seat);

  const RequestLoad& load_;
  Poller poller_;
  std::vector<Client> clients_;
  std::string request_;
  std::string expected_body_;
  RequestReport report_;
  std::vector<std::int64_t> latencies_;
  std::deque<std::size_t> free_;  // seats without a request under way, where there is a pace
  Nanoseconds due_{};             // when the next request is
};

RequestRun::RequestRun(const RequestLoad& load) : load_(load), clients_(load.connections) {
  constexpr std::string_view kBody =
      R"({"model":"llama3.2","prompt":"Explain to a curious child of ten, in one friendly sentence and without any )"
      R"(numbers, why the sky above us looks blue around noon and yet turns orange and red towards the evening.",)"
      R"("stream":false,"options":{"temperature":0.2,"num_predict":24,"seed":7},"keep_alive":"5m"})";
  request_ = fmt::format(
      "POST /api/generate HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nContent-Type: "
      "application/json\r\n"
      "User-Agent: ollama-python/0.6.2 (x86_64 linux) Python/3.11\r\nContent-Length: "
      "{}\r\n{}\r\n{}",
      load.target.text(), kBody.size(), load.fields, kBody);
  HttpReader().feed(single_answer(Ask::Kind::generate), expected_body_);
}

RequestReport RequestRun::run() {
  due_ = monotonic_now();
  for (std::size_t seat = 0; seat < clients_.size(); ++seat) open(seat);
  pump_until(monotonic_now() + std::chrono::duration_cast<Nanoseconds>(load_.warmup));
  report_.requests = 0;
  latencies_.clear();
  const auto before = sample_cpu(load_.watched);
  const auto start = monotonic_now();
  pump_until(start + std::chrono::duration_cast<Nanoseconds>(load_.measured));
  const auto after = sample_cpu(load_.watched);
  report_.seconds = std::chrono::duration<double>(monotonic_now() - start).count();
  report_.used = after - before;
  report_.latency = Spread::of(latencies_);
  return report_;
}

void RequestRun::pump_until(Nanoseconds end) {
  for (auto now = monotonic_now(); now < end; now = monotonic_now()) {
    if (paced()) ask_what_is_due();
    const auto next = paced() && !free_.empty() ? std::min(end, due_) : end;
    const auto left = std::max(Nanoseconds{}, next - monotonic_now());
    for (const auto& event : poller_.wait(left)) on_event(event.data.u64, event.events);
  }
}

void RequestRun::ask_what_is_due() {
  const Nanoseconds between(static_cast<std::int64_t>(1e9 / load_.per_s));
  while (!free_.empty() && due_ <= monotonic_now()) {
    const std::size_t seat = free_.front();
    free_.pop_front();
    ask(seat, due_);
    due_ += between;
  }
}

void RequestRun::go_on(std::size_t seat) {
  if (!paced()) return ask(seat, monotonic_now());
  free_.push_back(seat);
}

void RequestRun::open(std::size_t seat) {
  auto& client = clients_[seat];
  client.socket = connect_to(load_.target, seat);
  if (client.socket) {
    poller_.add(client.socket, EPOLLOUT, seat);
  } else {
    ++report_.failed;
  }
}

void RequestRun::ask(std::size_t seat, Nanoseconds due) {
  auto& client = clients_[seat];
  client.asked = due;
  const auto size = send(client.socket.get(), request_.data(), request_.size(), MSG_NOSIGNAL);
  if (size != static_cast<ssize_t>(request_.size())) fail(seat);
}

void RequestRun::on_event(std::size_t seat, std::uint32_t events) {
  auto& client = clients_[seat];
  if (events & EPOLLOUT && !(events & (EPOLLHUP | EPOLLERR))) {
    poller_.change(client.socket, EPOLLIN, seat);
    return go_on(seat);
  }
  std::array<char, 16384> buffer;
  const auto size = recv(client.socket.get(), buffer.data(), buffer.size(), 0);
  if (size <= 0) return size < 0 && errno == EAGAIN ? void() : fail(seat);
  const auto given = static_cast<std::size_t>(size);
  const auto taken = client.reader.feed({buffer.data(), given}, client.body);
  if (client.reader.broken() || taken != given) return fail(seat);
  if (client.reader.complete()) on_answer(seat);
}

void RequestRun::on_answer(std::size_t seat) {
  auto& client = clients_[seat];
  if (!client.reader.start_line().starts_with("HTTP/1.1 200") || client.body != expected_body_)
    return fail(seat);
  ++report_.requests;
  latencies_.push_back((monotonic_now() - client.asked).count());
  client.reader.next();
  client.body.clear();
  go_on(seat);
}

/// The seat stays empty: a failure spoils the run, and trying again for ever would hide that.
void RequestRun::fail(std::size_t seat) {
  ++report_.failed;
  clients_[seat].socket.close();
}

}  // namespace

RequestReport run_requests(const RequestLoad& load) { return RequestRun(load).run(); }

}  // namespace sollol::bench
