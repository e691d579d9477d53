#include "world/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "world/chance.h"

namespace sollol::world {
namespace {

constexpr double burst_factor = 10;
constexpr double burst_requests = 12;  // on average

std::uint32_t tokens(Chance& chance, double median, double spread, std::uint32_t most) {
  const double drawn = chance.log_normal(median, spread);
  return static_cast<std::uint32_t>(std::clamp(drawn, 1.0, static_cast<double>(most)));
}

/// Draws a model by its rank's weight.
class Popularity {
 public:
  Popularity(std::size_t models, double exponent) {
    double sum = 0;
    for (std::size_t rank = 1; rank <= models; ++rank)
      sums_.push_back(sum += std::pow(static_cast<double>(rank), -exponent));
  }
  std::uint32_t draw(Chance& chance) const {
    const auto found = std::ranges::upper_bound(sums_, chance.share() * sums_.back());
    return static_cast<std::uint32_t>(std::min<std::ptrdiff_t>(
        found - sums_.begin(), static_cast<std::ptrdiff_t>(sums_.size()) - 1));
  }

 private:
  std::vector<double> sums_;
};

struct Conversation {
  std::uint32_t id = 0;
  std::uint32_t model = 0;
  std::uint32_t tokens = 0;  // said so far
};

}  // namespace

std::vector<Request> draw_requests(const Fleet& fleet, const Mix& mix, std::uint64_t seed) {
  Chance chance(seed);
  const Popularity popularity(fleet.models.size(), mix.popularity);
  std::vector<std::optional<Conversation>> talking(mix.clients);
  std::uint32_t conversations = 0;
  std::vector<Request> requests;
  requests.reserve(mix.requests);
  for (std::size_t i = 0; i < mix.requests; ++i) {
    Request request;
    request.client = chance.below(mix.clients);
    request.model = popularity.draw(chance);
    request.prompt_tokens = tokens(chance, mix.prompt_median, mix.prompt_spread, mix.tokens_max);
    request.output_tokens = tokens(chance, mix.output_median, mix.output_spread, mix.tokens_max);
    if (chance.share() < mix.told) request.num_predict = request.output_tokens;
    if (mix.urgencies) request.urgency = static_cast<cluster::Urgency>(request.client % 3);
    if (!mix.num_ctx.empty()) request.num_ctx = mix.num_ctx[request.client % mix.num_ctx.size()];
    if (mix.turns > 1) {
      auto& conversation = talking[request.client];
      if (!conversation || conversation->tokens > mix.tokens_max * 4 ||
          chance.share() < 1 / mix.turns)
        conversation = Conversation{++conversations, request.model, 0};
      request.session = conversation->id;
      request.model = conversation->model;
      request.said_before = conversation->tokens;
      request.prompt_tokens += conversation->tokens;
      conversation->tokens = request.prompt_tokens + request.output_tokens;
    }
    requests.push_back(request);
  }
  return requests;
}

void draw_times(std::vector<Request>& requests, Arrivals arrivals, double per_s,
                std::uint64_t seed) {
  Chance chance(seed);
  double at = 0;
  double left_of_burst = 0;
  for (Request& request : requests) {
    switch (arrivals) {
      case Arrivals::at_once:
        break;
      case Arrivals::poisson:
        at += chance.exponential(1 / per_s);
        break;
      case Arrivals::bursty:
        if (left_of_burst-- < 1) {
          const double burst = std::ceil(chance.exponential(burst_requests));
          at += chance.exponential(burst * (1 - 1 / burst_factor) / per_s);
          left_of_burst = burst - 1;
        }
        at += chance.exponential(1 / (per_s * burst_factor));
        break;
    }
    request.at = from_seconds(at);
  }
}

namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

template <class Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

/// One line of a trace: its fields by the names of the first line.
class Row {
 public:
  Row(const std::map<std::string_view, std::size_t>& columns, std::vector<std::string_view> fields)
      : columns_(columns), fields_(std::move(fields)) {}

  std::string_view text(std::string_view name) const {
    const auto column = columns_.find(name);
    return column == columns_.end() || column->second >= fields_.size() ? std::string_view{}
                                                                        : fields_[column->second];
  }
  /// Absent or empty: 0, unless it is `required`.
  template <class Number>
  Number read(std::string_view name, bool required = false) {
    const std::string_view value = text(name);
    if (value.empty() && !required) return 0;
    const auto parsed = number<Number>(value);
    if (!parsed && problem_.empty())
      problem_ = fmt::format("{}: '{}' must be a number that is not negative", name, value);
    return parsed.value_or(0);
  }
  void fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }
  const std::string& problem() const { return problem_; }

 private:
  const std::map<std::string_view, std::size_t>& columns_;
  std::vector<std::string_view> fields_;
  std::string problem_;
};

cluster::Urgency urgency(Row& row) {
  const std::string_view text = row.text("urgency");
  if (text.empty()) return cluster::Urgency::normal;
  const auto urgency = cluster::parse_urgency(text);
  if (!urgency) row.fail(fmt::format("urgency: '{}' must be interactive, normal or batch", text));
  return urgency.value_or(cluster::Urgency::normal);
}

bool streamed(Row& row) {
  return row.text("streamed").empty() || row.read<std::uint32_t>("streamed") != 0;
}

std::uint32_t model(Row& row, const Fleet& fleet) {
  const std::string_view name = row.text("model");
  if (const auto found = find_model(fleet, name)) return *found;
  std::string known;
  for (const ModelSpec& one : fleet.models) known += (known.empty() ? "" : ", ") + one.name;
  row.fail(fmt::format("model: no node has '{}'; there is {}", name, known));
  return 0;
}

Request read_row(Row& row, const Fleet& fleet, std::map<std::string, std::uint32_t>& clients,
                 std::map<std::string, std::uint32_t>& sessions) {
  Request request;
  request.at = from_seconds(row.read<double>("at_s", true));
  request.model = model(row, fleet);
  request.prompt_tokens = row.read<std::uint32_t>("prompt_tokens", true);
  request.output_tokens = row.read<std::uint32_t>("output_tokens", true);
  request.num_ctx = row.read<std::uint32_t>("num_ctx");
  request.num_predict = row.read<std::uint32_t>("told") != 0
                            ? request.output_tokens
                            : row.read<std::uint32_t>("num_predict");
  request.streamed = request.output_tokens > 0 && streamed(row);
  request.urgency = urgency(row);
  const auto id = [](auto& ids, std::string_view name) {
    return ids.emplace(name, static_cast<std::uint32_t>(ids.size())).first->second;
  };
  request.client = id(clients, row.text("client"));
  if (!row.text("session").empty()) request.session = id(sessions, row.text("session")) + 1;
  return request;
}

}  // namespace

Result<Workload> read_trace(std::string_view csv, std::string_view file, const Fleet& fleet) {
  Workload workload;
  std::map<std::string_view, std::size_t> columns;
  std::map<std::string, std::uint32_t> clients, sessions;
  std::map<std::uint32_t, std::uint32_t> said;  // tokens, by session
  std::size_t line_number = 0;
  for (std::string_view line : split(csv, '\n')) {
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    if (columns.empty()) {
      for (const std::string_view name : split(line, ',')) columns.emplace(name, columns.size());
      continue;
    }
    Row row(columns, split(line, ','));
    Request request = read_row(row, fleet, clients, sessions);
    if (request.session != 0) {
      std::uint32_t& so_far = said[request.session];
      request.said_before = std::min(so_far, request.prompt_tokens);
      so_far = request.prompt_tokens + request.output_tokens;
    }
    if (!workload.requests.empty() && request.at < workload.requests.back().at)
      row.fail("at_s: is before that of the line above; sort the lines by it");
    workload.requests.push_back(request);
    if (!row.problem().empty())
      return std::unexpected(bad_input(fmt::format("{}:{}: {}", file, line_number, row.problem())));
  }
  if (workload.requests.empty())
    return std::unexpected(bad_input(fmt::format(
        "{}: no requests; the first line names the columns: at_s,model,prompt_tokens,output_tokens",
        file)));
  return workload;
}

}  // namespace sollol::world
