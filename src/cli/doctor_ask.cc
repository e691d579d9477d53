#include "cli/doctor_ask.h"

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <chrono>
#include <iomanip>
#include <sstream>
#include <thread>

#include "api/listing.h"
#include "cli/client.h"
#include "discovery/node_spec.h"
#include "net/tcp.h"

namespace sollol::cli {

namespace {

using Answer = doctor::EntryFact::Answer;

constexpr std::size_t asked_at_once_max = 16;

std::vector<Address> addresses_of(const discovery::NodeSpec& node) {
  net::asio::io_context context(1);
  std::vector<Address> addresses;
  net::asio::co_spawn(context, net::resolve(context, node.host, node.port),
                      [&](std::exception_ptr, Result<std::vector<Address>> found) {
                        if (found) addresses = std::move(*found);
                      });
  context.run();
  return addresses;
}

/// "Tue, 24 Nov 2026 20:30:01 GMT" against this machine's clock.
std::optional<Duration> ahead_of_us(const std::string& date) {
  std::tm parts{};
  std::istringstream text(date);
  text.imbue(std::locale::classic());
  text >> std::get_time(&parts, "%a, %d %b %Y %H:%M:%S GMT");
  if (text.fail()) return std::nullopt;
  const auto theirs = std::chrono::sys_seconds(std::chrono::seconds(::timegm(&parts)));
  const auto ours =
      std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  return std::chrono::duration_cast<Duration>(theirs - ours);
}

void take_models(const std::string& tags, NodeAnswer& into) {
  const auto listed = api::parse_tags(tags);
  if (!listed) return;
  for (const api::ModelEntry& model : *listed) {
    into.models.push_back({.key = model.key,
                           .digest = model.digest,
                           .modified_at = model.modified_at,
                           .remote = model.remote});
  }
}

void take_loaded(const std::string& ps, NodeAnswer& into) {
  const auto listed = api::parse_ps(ps);
  if (!listed) return;
  for (const api::LoadedModel& model : *listed) {
    into.loaded.push_back({.key = model.key,
                           .context_length = model.context_length,
                           .size_bytes = model.size_bytes,
                           .vram_bytes = model.vram_bytes,
                           .sizes_known = true});
  }
}

NodeAnswer ask(const std::string& url, Duration timeout) {
  NodeAnswer answer;
  const auto node = discovery::parse_node_url(url);
  if (node) answer.addresses = addresses_of(*node);
  if (answer.addresses.empty()) {
    answer.answer = Answer::unresolved;
    return answer;
  }
  const auto get = [&](std::string_view path) {
    return fetch({.method = "GET",
                  .url = node->url + std::string(path),
                  .body = {},
                  .key = ClientRequest::Key::withheld},
                 timeout);
  };
  const TimePoint asked = Clock::now();
  const auto version = get("/api/version");
  answer.took = Clock::now() - asked;
  if (!version) {
    const ErrorKind kind = version.error().kind;
    answer.answer = kind == ErrorKind::timeout   ? Answer::silent
                    : kind == ErrorKind::refused ? Answer::refused
                                                 : Answer::no_ollama;
    return answer;
  }
  answer.from_gateway = version->from_gateway;
  const auto number = api::parse_version(version->body);
  answer.answer = version->status == 200 && number ? Answer::node : Answer::no_ollama;
  if (answer.answer != Answer::node) return answer;
  answer.version = *number;
  answer.clock_ahead = ahead_of_us(version->date);
  if (const auto tags = get("/api/tags"); tags && tags->status == 200)
    take_models(tags->body, answer);
  if (const auto ps = get("/api/ps"); ps && ps->status == 200) take_loaded(ps->body, answer);
  return answer;
}

}  // namespace

std::vector<NodeAnswer> ask_nodes(std::span<const std::string> urls, Duration timeout) {
  std::vector<NodeAnswer> answers(urls.size());
  std::atomic<std::size_t> next = 0;
  std::vector<std::jthread> askers;
  for (std::size_t i = 0; i < std::min(urls.size(), asked_at_once_max); ++i) {
    askers.emplace_back([&] {
      for (std::size_t at = next++; at < urls.size(); at = next++)
        answers[at] = ask(urls[at], timeout);
    });
  }
  askers.clear();  // joins
  return answers;
}

}  // namespace sollol::cli
