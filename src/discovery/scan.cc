#include "discovery/scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <deque>

#include "net/event.h"
#include "net/http_call.h"
#include "net/listening.h"

namespace sollol::discovery {

namespace asio = net::asio;

namespace {

constexpr std::size_t version_max = 4096;
constexpr std::size_t tags_max = 32u << 20;
constexpr std::size_t page_max = 64u << 10;
constexpr Duration pause_when_full = std::chrono::milliseconds(10);  // no descriptor was left
constexpr unsigned tries_when_full = 100;
/// So long the kernel looks for a neighbour that does not answer (three times, a second apart) and
/// keeps its place in the table, whoever has given up waiting for it.
constexpr Duration neighbour_kept = std::chrono::milliseconds(3200);
constexpr std::size_t says_max = 60;
constexpr std::size_t started_in_a_row = 32;

/// One scan under way; its tries hold it.
struct Work : std::enable_shared_from_this<Work> {
  Work(asio::io_context& c, net::Scheduler& s, net::Connector& n, ScanPlan p, ScanOptions o,
       OnFound f, OnRefused r)
      : context(c),
        scheduler(s),
        connector(n),
        plan(std::move(p)),
        options(std::move(o)),
        on_found(std::move(f)),
        on_refused(std::move(r)),
        changed(c),
        began(s.now()),
        tries_max(std::clamp<std::size_t>(options.addresses_max * options.ports.size(), 1,
                                          std::max<std::size_t>(net::descriptors_max() / 2, 1))) {}

  asio::io_context& context;
  net::Scheduler& scheduler;
  net::Connector& connector;
  const ScanPlan plan;
  const ScanOptions options;
  const OnFound on_found;
  const OnRefused on_refused;
  net::HttpScratch scratch;
  net::Event changed;
  const TimePoint began;
  const std::size_t tries_max;  // at once
  ScanFigures figures;
  std::size_t under_way = 0;
  std::deque<TimePoint> neighbours;  // looked for within the last `neighbour_kept`
  bool enough = false;

  net::Task<ScanFigures> run();
  net::Task<void> begin_all(std::string ip);
  net::Task<void> begin(Address at);
  net::Task<void> make_room_for_neighbour();
  net::Task<void> settle();
  net::Task<void> attempt(Address at);
  net::Task<void> examine(Found found, std::unique_ptr<net::Stream> stream);
  net::Task<Result<net::SimpleReply>> get(Address at, std::unique_ptr<net::Stream>& stream,
                                          std::string path, std::size_t reply_max);
  void report(Found found);
};

net::Task<ScanFigures> Work::run() {
  // First what is ours under its real address, then under loopback: that one is only kept where
  // nothing else answers.
  std::vector<std::string> loopback;
  for (const Address& at : plan.named) {
    if (enough) break;
    auto starting = begin(at);
    co_await std::move(starting);
  }
  PlanCursor cursor(plan);
  while (!enough) {
    const std::optional<std::string> ip = cursor.next();
    if (!ip) break;
    if (options.subnets.empty() && ip->starts_with("127.")) {
      loopback.push_back(*ip);
      continue;
    }
    auto starting = begin_all(*ip);
    co_await std::move(starting);
  }
  for (const std::string& ip : loopback) {
    auto starting = begin_all(ip);
    co_await std::move(starting);
  }
  auto settling = settle();
  co_await std::move(settling);
  figures.stopped_early = enough;
  figures.took = scheduler.now() - began;
  co_return figures;
}

net::Task<void> Work::begin_all(std::string ip) {
  if (plan.on_link(ip)) {
    auto waiting = make_room_for_neighbour();
    co_await std::move(waiting);
  }
  for (const std::uint16_t port : options.ports) {
    auto starting = begin({ip, port});
    co_await std::move(starting);
  }
}

/// Waits while the kernel's table of neighbours is full: what is sent to one more is lost.
net::Task<void> Work::make_room_for_neighbour() {
  if (neighbours.size() >= plan.neighbours_max) {
    const TimePoint due = neighbours.front() + neighbour_kept;
    neighbours.pop_front();
    while (due > scheduler.now() && !enough) {
      auto pause = scheduler.sleep_until(due);
      co_await std::move(pause);
    }
  }
  neighbours.push_back(scheduler.now());
}

/// Starts one try once there is room for it.
net::Task<void> Work::begin(Address at) {
  while (under_way >= tries_max && !enough) {
    auto waiting = changed.wait();
    co_await std::move(waiting);
  }
  const auto beyond_burst = static_cast<double>(figures.tried) - static_cast<double>(tries_max);
  const TimePoint due = began + from_seconds(std::max(0.0, beyond_burst) / options.connects_per_s);
  if (due > scheduler.now()) {
    auto pause = scheduler.sleep_until(due);
    co_await std::move(pause);
  }
  if (enough) co_return;
  // What has been found is told before the rest is tried.
  if (figures.tried % started_in_a_row == started_in_a_row - 1) {
    auto others_first = asio::post(context, net::use_task);
    co_await std::move(others_first);
  }
  ++figures.tried;
  ++under_way;
  asio::co_spawn(context, attempt(std::move(at)), [self = shared_from_this()](std::exception_ptr) {
    --self->under_way;
    self->changed.set();
  });
}

net::Task<void> Work::settle() {
  while (under_way > 0 && !enough) {
    auto waiting = changed.wait();
    co_await std::move(waiting);
  }
}

net::Task<void> Work::attempt(Address at) {
  for (unsigned tries = 0; tries < tries_when_full && !enough; ++tries) {
    const TimePoint sent = scheduler.now();
    auto connecting = connector.connect(at, sent + options.timeout);
    Result<std::unique_ptr<net::Stream>> stream = co_await std::move(connecting);
    if (stream) {
      ++figures.open;
      const Source source = plan.source_of(at.ip);
      Found found{.address = std::move(at), .source = source, .round_trip = scheduler.now() - sent};
      auto examining = examine(std::move(found), std::move(*stream));
      co_await std::move(examining);
      co_return;
    }
    if (stream.error().kind == ErrorKind::refused && on_refused && !enough) on_refused(at);
    if (stream.error().kind != ErrorKind::overloaded) co_return;
    auto pause = scheduler.sleep_until(scheduler.now() + pause_when_full);
    co_await std::move(pause);
  }
  ++figures.unsent;
}

/// One question, over the connection that is there or, where the peer closed it, a new one.
net::Task<Result<net::SimpleReply>> Work::get(Address at, std::unique_ptr<net::Stream>& stream,
                                              std::string path, std::size_t reply_max) {
  const TimePoint deadline = scheduler.now() + options.timeout;
  if (!stream) {
    auto connecting = connector.connect(at, deadline);
    auto connected = co_await std::move(connecting);
    if (!connected) co_return std::unexpected(connected.error());
    stream = std::move(*connected);
  }
  net::SimpleRequest request{
      .target = std::move(path), .host_field = to_string(at), .reply_max = reply_max};
  auto calling = net::call_once(*stream, scratch, std::move(request), deadline);
  Result<net::SimpleReply> reply = co_await std::move(calling);
  if (!reply || !reply->reusable) stream = nullptr;
  co_return reply;
}

/// What a thing that is no node says it is, in few words.
std::string self_description(const net::HttpReply& reply) {
  std::string text = reply.server.empty() ? std::string() : reply.server + ", ";
  text += fmt::format("HTTP {}", reply.status);
  std::ranges::replace_if(text, [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  return text.substr(0, says_max);
}

net::Task<void> Work::examine(Found found, std::unique_ptr<net::Stream> stream) {
  auto asking = get(found.address, stream, "/api/version", version_max);
  Result<net::SimpleReply> version = co_await std::move(asking);
  if (!version) {
    const bool silent = version.error().kind == ErrorKind::timeout;
    found.what = silent ? Found::What::silent : Found::What::other;
    if (!silent) found.says = "no HTTP";
    report(std::move(found));
    co_return;
  }
  if (version->reply.from_gateway) {
    found.what = Found::What::gateway;
    report(std::move(found));
    co_return;
  }
  auto number = api::parse_version(version->reply.body);
  if (version->reply.status == 200 && number) {
    auto listing = get(found.address, stream, "/api/tags", tags_max);
    Result<net::SimpleReply> tags = co_await std::move(listing);
    auto models = tags && tags->reply.status == 200
                      ? api::parse_tags(tags->reply.body)
                      : Result<std::vector<api::ModelEntry>>(std::unexpected(bad_input({})));
    if (models) {
      found.what = Found::What::node;
      found.version = std::move(*number);
      found.models = std::move(*models);
      auto remembering = get(found.address, stream, "/api/ps", tags_max);
      const Result<net::SimpleReply> loaded = co_await std::move(remembering);
      if (loaded && loaded->reply.status == 200) {
        if (auto parsed = api::parse_ps(loaded->reply.body)) found.loaded = std::move(*parsed);
      }
      report(std::move(found));
      co_return;
    }
    if (!tags && tags.error().kind == ErrorKind::timeout) {
      report(std::move(found));  // silent
      co_return;
    }
  }
  auto looking = get(found.address, stream, "/", page_max);
  const Result<net::SimpleReply> page = co_await std::move(looking);
  found.what = Found::What::other;
  found.says = self_description(page ? page->reply : version->reply);
  report(std::move(found));
}

void Work::report(Found found) {
  if (enough) return;
  found.after = scheduler.now() - began;
  if (found.what == Found::What::node) {
    ++figures.nodes;
    if (!options.discover_all_nodes) enough = true;
  }
  on_found(std::move(found));
}

}  // namespace

net::Task<ScanFigures> scan(asio::io_context& context, net::Scheduler& scheduler,
                            net::Connector& connector, ScanPlan plan, ScanOptions options,
                            OnFound on_found, OnRefused on_refused) {
  const auto work =
      std::make_shared<Work>(context, scheduler, connector, std::move(plan), std::move(options),
                             std::move(on_found), std::move(on_refused));
  auto running = work->run();
  co_return co_await std::move(running);
}

}  // namespace sollol::discovery
