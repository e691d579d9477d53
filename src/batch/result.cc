#include "batch/result.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/json_edit.h"
#include "api/json_scan.h"
#include "api/json_text.h"

namespace sollol::batch {

using api::Operation;

namespace {

/// All that the parts of a line amount to.
struct Sum {
  std::uint64_t prompt_tokens = 0, output_tokens = 0;
  double load_s = 0, prompt_s = 0, output_s = 0, took_s = 0;
  unsigned attempts = 0;
  std::string nodes;
};

Sum sum_of(const Line& line, std::span<const TaskResult> parts) {
  Sum sum;
  for (const TaskResult& part : parts) {
    const api::Usage usage = cost_of(line, part, 0).usage;
    sum.prompt_tokens += usage.prompt_tokens;
    sum.output_tokens += usage.output_tokens;
    sum.load_s += to_seconds(usage.load);
    sum.prompt_s += to_seconds(usage.prompt_eval);
    sum.output_s += to_seconds(usage.eval);
    sum.took_s = std::max(sum.took_s, part.took_s);
    sum.attempts = std::max(sum.attempts, part.attempts);
    if (part.node.empty() || (", " + sum.nodes + ",").contains(" " + part.node + ",")) continue;
    sum.nodes += (sum.nodes.empty() ? "" : ", ") + part.node;
  }
  return sum;
}

/// The elements of the list `key` of all parts as one list; `renumber`: each has its index in a
/// field of that name.
std::string joined_list(std::span<const TaskResult> parts, std::string_view key,
                        std::string_view index_field) {
  std::string list = "[";
  std::size_t index = 0;
  for (const TaskResult& part : parts) {
    for (api::JsonScan item(api::json_field(part.body, key)); item.next(); ++index) {
      if (index > 0) list += ',';
      if (index_field.empty()) {
        list += item.value();
      } else {
        list += api::with_json_fields(item.value(), {{index_field, std::to_string(index)}});
      }
    }
  }
  return list + "]";
}

std::uint64_t sum_of_field(std::span<const TaskResult> parts, std::string_view key) {
  std::uint64_t sum = 0;
  for (const TaskResult& part : parts)
    sum += api::json_unsigned(api::json_field(part.body, key)).value_or(0);
  return sum;
}

/// One answer out of those of a list's parts, in the form of its API.
std::string joined(const Line& line, std::span<const TaskResult> parts) {
  const std::string& first = parts.front().body;
  if (parts.size() == 1) return first;
  const Sum sum = sum_of(line, parts);
  if (line.operation == Operation::openai_embeddings) {
    const std::string usage =
        fmt::format(R"({{"prompt_tokens":{0},"total_tokens":{0}}})", sum.prompt_tokens);
    return api::with_json_fields(first,
                                 {{"data", joined_list(parts, "data", "index")}, {"usage", usage}});
  }
  return api::with_json_fields(
      first, {{"embeddings", joined_list(parts, "embeddings", "")},
              {"total_duration", std::to_string(sum_of_field(parts, "total_duration"))},
              {"load_duration", std::to_string(sum_of_field(parts, "load_duration"))},
              {"prompt_eval_count", std::to_string(sum.prompt_tokens)}});
}

/// Neither a line end nor what some reader takes for one may stand in a line of the output.
std::string in_one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  std::ranges::replace_if(text, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

/// An answer's own words on what is wrong: Ollama's, OpenAI's and Anthropic's form.
std::string error_text(const TaskResult& failed) {
  const std::string_view error = api::json_field(failed.body, "error");
  const std::string_view message =
      error.starts_with('{') ? api::json_field(error, "message") : error;
  if (!message.empty()) return api::json_decoded(message);
  return failed.body.empty() ? fmt::format("status {}", failed.status) : failed.body;
}

std::string facts(const Sum& sum) {
  std::string out;
  if (!sum.nodes.empty()) out += R"("node":)" + api::json_string(sum.nodes) + ",";
  fmt::format_to(std::back_inserter(out), R"("attempts":{},"seconds":{:.6f})", sum.attempts,
                 sum.took_s);
  if (sum.prompt_tokens + sum.output_tokens > 0) {
    fmt::format_to(std::back_inserter(out), R"(,"usage":{{"prompt_tokens":{},"output_tokens":{}}})",
                   sum.prompt_tokens, sum.output_tokens);
  }
  if (sum.load_s + sum.prompt_s + sum.output_s > 0) {
    fmt::format_to(std::back_inserter(out),
                   R"(,"timings":{{"load_s":{:.6f},"prompt_s":{:.6f},"output_s":{:.6f}}})",
                   sum.load_s, sum.prompt_s, sum.output_s);
  }
  return out;
}

/// An answer that is no JSON stands as a text.
std::string as_json(const std::string& body) {
  const std::string line = in_one_line(body);
  return line.starts_with('{') || line.starts_with('[') ? line : api::json_string(line);
}

}  // namespace

Verdict judge(int status) noexcept {
  switch (status) {
    case 0:
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return Verdict::again;
    default:
      return Verdict::final;
  }
}

Cost cost_of(const Line& line, const TaskResult& result, double planned_work) noexcept {
  Cost cost{.usage = {}, .work = planned_work};
  if (!result.ok()) return cost;
  cost.usage = api::usage_of_json(result.body, line.operation);
  const double told = static_cast<double>(cost.usage.output_tokens) +
                      static_cast<double>(cost.usage.prompt_tokens) * prompt_token_cost;
  if (told > 0) cost.work = told;
  if (!cost.usage.from_node_durations) return cost;
  cost.service_s = to_seconds(cost.usage.prompt_eval + cost.usage.eval);
  // Embeddings tell no evaluation apart from the whole.
  if (cost.service_s == 0) cost.service_s = to_seconds(cost.usage.total - cost.usage.load);
  return cost;
}

std::string output_line(const Line& line, std::uint64_t number, std::span<const TaskResult> parts) {
  const auto bad = std::ranges::find_if_not(parts, &TaskResult::ok);
  const bool ok = bad == parts.end();
  const Sum sum = sum_of(line, parts);
  if (line.form == LineForm::plain) {
    std::string out = fmt::format(R"({{"line":{},)", number);
    if (!ok && bad->status != 0) out += fmt::format(R"("status":{},)", bad->status);
    if (ok) out += R"("status":200,)";
    out += facts(sum);
    out += ok ? R"(,"response":)" + as_json(joined(line, parts))
              : R"(,"error":)" + api::json_string(error_text(*bad));
    return out + "}\n";
  }
  const std::string id = fmt::format("batch_req_{:09}", number);
  std::string out = fmt::format(R"({{"id":"{}","custom_id":{},)", id, line.custom_id);
  if (ok || bad->status != 0) {
    out +=
        fmt::format(R"("response":{{"status_code":{},"request_id":"{}","body":{}}},"error":null)",
                    ok ? 200 : bad->status, id, as_json(ok ? joined(line, parts) : bad->body));
  } else {
    out += fmt::format(R"("response":null,"error":{{"code":"not_answered","message":{}}})",
                       api::json_string(error_text(*bad)));
  }
  return out + R"(,"sollol":{)" + facts(sum) + "}}\n";
}

}  // namespace sollol::batch
