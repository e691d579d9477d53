#include "answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace sollol::bench {
namespace {

constexpr std::size_t kNumberDigits = 6;
constexpr std::size_t kTimeDigits = 19;
constexpr double kDefaultRate = 50;
constexpr std::string_view kMark = "tok ";
constexpr std::string_view kCreated =
    R"("model":"llama3.2","created_at":"2026-08-21T10:00:00.123456789Z")";
constexpr std::string_view kMetrics =
    R"("done":true,"done_reason":"stop","total_duration":412345678,"load_duration":1234567,)"
    R"("prompt_eval_count":46,"prompt_eval_duration":31234567,"eval_count":24,"eval_duration":379876543)";
constexpr std::string_view kEntry =
    R"("name":"llama3.2:latest","model":"llama3.2:latest","size":2019393189,)"
    R"("digest":"a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72",)"
    R"("details":{"parent_model":"","format":"gguf","family":"llama","families":["llama"],)"
    R"("parameter_size":"3.2B","quantization_level":"Q4_K_M","context_length":131072,"embedding_length":3072})";
constexpr std::string_view kSentence =
    "The sky looks blue because air scatters short waves of sunlight far more than long ones.";

/// What follows `"name":`, spaces skipped; empty when the name does not occur.
std::string_view value_of(std::string_view body, std::string_view name) {
  const auto at = body.find(fmt::format("\"{}\"", name));
  if (at == std::string_view::npos) return {};
  const auto value = body.find_first_not_of(" \t\n:", at + name.size() + 2);
  return value == std::string_view::npos ? std::string_view{} : body.substr(value);
}

std::string text_field(Ask::Kind kind, std::string_view text) {
  if (kind == Ask::Kind::generate) return fmt::format(R"("response":"{}")", text);
  return fmt::format(R"("message":{{"role":"assistant","content":"{}"}})", text);
}

std::string end_record(Ask::Kind kind, std::string_view text) {
  return fmt::format("{{{},{},{}}}", kCreated, text_field(kind, text), kMetrics);
}

std::string sized(std::string_view status, std::string_view type, std::string_view body) {
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: {}\r\nDate: Fri, 21 Aug 2026 10:00:00 GMT\r\nContent-Length: "
      "{}\r\n\r\n{}",
      status, type, body.size(), body);
}

std::string chunk(std::string_view payload) {
  return fmt::format("{:x}\r\n{}\r\n", payload.size(), payload);
}

void write_digits(char* at, std::size_t digits, std::uint64_t value) {
  for (; digits > 0; value /= 10) at[--digits] = static_cast<char>('0' + value % 10);
}

template <class Number>
bool read_digits(std::string_view digits, Number& value) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc{} && end == digits.data() + digits.size();
}

}  // namespace

Ask parse_ask(Ask::Kind kind, std::string_view body) {
  Ask ask{.kind = kind};
  if (value_of(body, "stream").starts_with("false")) ask.form = Ask::Form::single;
  const auto tokens = value_of(body, "num_predict");
  std::from_chars(tokens.data(), tokens.data() + tokens.size(), ask.tokens);
  double rate = kDefaultRate;
  const auto wanted = value_of(body, "sim_rate");
  std::from_chars(wanted.data(), wanted.data() + wanted.size(), rate);
  ask.period =
      std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / std::clamp(rate, 0.01, 1e4)));
  return ask;
}

std::string_view stream_head() {
  return "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nDate: Fri, 21 Aug 2026 10:00:00 "
         "GMT\r\n"
         "Transfer-Encoding: chunked\r\n\r\n";
}

std::string_view single_answer(Ask::Kind kind) {
  static const auto make = [](Ask::Kind which) {
    return sized("200 OK", "application/json; charset=utf-8", end_record(which, kSentence));
  };
  static const std::string generate = make(Ask::Kind::generate);
  static const std::string chat = make(Ask::Kind::chat);
  return kind == Ask::Kind::generate ? generate : chat;
}

std::string_view stream_end(Ask::Kind kind) {
  static const auto make = [](Ask::Kind which) {
    return chunk(end_record(which, "") + "\n") + "0\r\n\r\n";
  };
  static const std::string generate = make(Ask::Kind::generate);
  static const std::string chat = make(Ask::Kind::chat);
  return kind == Ask::Kind::generate ? generate : chat;
}

std::string static_answer(std::string_view path) {
  constexpr std::string_view kJson = "application/json; charset=utf-8";
  if (path == "/") return sized("200 OK", "text/plain; charset=utf-8", "Ollama is running");
  if (path == "/api/version") return sized("200 OK", kJson, R"({"version":"0.33.0"})");
  if (path == "/api/tags") {
    return sized("200 OK", kJson,
                 fmt::format(R"({{"models":[{{{},"modified_at":"2026-08-01T10:00:00.5+02:00",)"
                             R"("capabilities":["completion","tools"]}}]}})",
                             kEntry));
  }
  if (path == "/api/ps") {
    return sized("200 OK", kJson,
                 fmt::format(R"({{"models":[{{{},"expires_at":"2318-08-21T12:05:00.1+02:00",)"
                             R"("size_vram":2019393189,"context_length":4096}}]}})",
                             kEntry));
  }
  return sized("404 Not Found", "text/plain", "404 page not found");
}

TokenChunk::TokenChunk(Ask::Kind kind) {
  const auto text = fmt::format("{}{:0{}} {:0{}}", kMark, 0, kNumberDigits, 0, kTimeDigits);
  chunk_ = chunk(fmt::format("{{{},{},\"done\":false}}\n", kCreated, text_field(kind, text)));
  text_at_ = chunk_.find(kMark) + kMark.size();
}

std::string_view TokenChunk::fill(std::uint32_t number, std::chrono::nanoseconds sent) {
  write_digits(chunk_.data() + text_at_, kNumberDigits, number);
  write_digits(chunk_.data() + text_at_ + kNumberDigits + 1, kTimeDigits,
               static_cast<std::uint64_t>(sent.count()));
  return chunk_;
}

std::optional<TokenMarks> read_marks(std::string_view record) {
  const auto at = record.find(kMark);
  if (at == std::string_view::npos) return std::nullopt;
  TokenMarks marks;
  std::int64_t sent = 0;
  const auto text = record.substr(at + kMark.size());
  if (text.size() < kNumberDigits + 1 + kTimeDigits ||
      !read_digits(text.substr(0, kNumberDigits), marks.number) ||
      !read_digits(text.substr(kNumberDigits + 1, kTimeDigits), sent)) {
    return std::nullopt;
  }
  marks.sent = std::chrono::nanoseconds(sent);
  return marks;
}

bool is_end_record(std::string_view record) {
  return record.find(R"("done":true)") != std::string_view::npos;
}

}  // namespace sollol::bench
