#include "sim/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>

#include "sim/hash.h"
#include "sim/model_name.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

bool any_in(std::string_view name, std::initializer_list<std::string_view> words) {
  return std::ranges::any_of(words, [&](auto word) { return name.contains(word); });
}

std::vector<std::string> guess_capabilities(std::string_view name) {
  if (any_in(name, {"embed", "bge-", "minilm"})) return {"embedding"};
  std::vector<std::string> out = {"completion", "tools"};
  if (any_in(name, {"coder", "codellama", "starcoder"})) out.emplace_back("insert");
  if (any_in(name, {"llava", "vision", "-vl", "gemma3", "moondream"})) out.emplace_back("vision");
  if (any_in(name, {"qwen3", "deepseek-r1", "gpt-oss", "magistral"})) out.emplace_back("thinking");
  if (any_in(name, {"whisper", "gemma3n", "audio"})) out.emplace_back("audio");
  return out;
}

std::string guess_family(std::string_view name) {
  if (any_in(name, {"embed", "bge-", "minilm"})) return "nomic-bert";
  for (const char* family : {"qwen3", "qwen2", "gemma3", "mistral", "phi3"}) {
    if (name.contains(family)) return family;
  }
  return "llama";
}

std::uint32_t block_count(const Manifest& model) {
  return std::max(1U, model.spec.embedding_length / 128);
}

}  // namespace

bool Manifest::can(std::string_view capability) const {
  return std::ranges::find(spec.capabilities, capability) != spec.capabilities.end();
}

ModelSpec complete(ModelSpec spec) {
  const auto name = ModelName::parse(spec.name);
  const auto key = name ? name->key() : spec.name;
  if (spec.blob.empty())
    spec.blob = sha256_hex("blob of " + (spec.digest.empty() ? key : spec.digest));
  if (spec.digest.empty()) spec.digest = sha256_hex("manifest of " + key);
  if (spec.capabilities.empty()) spec.capabilities = guess_capabilities(key);
  if (spec.family.empty()) spec.family = guess_family(key);
  return spec;
}

ManifestPtr Store::find(std::string_view name) const {
  const auto parsed = ModelName::parse(name);
  if (!parsed) return nullptr;
  const auto at = models_.find(parsed->key());
  return at == models_.end() ? nullptr : at->second;
}

void Store::put(ModelSpec spec, WallTime modified_at, std::string from) {
  const auto parsed = ModelName::parse(spec.name);
  if (!parsed) return;
  spec = complete(std::move(spec));
  blobs_.insert("sha256:" + spec.blob);
  auto name = parsed->display();
  if (const auto at = models_.find(parsed->key()); at != models_.end()) name = at->second->name;
  models_[parsed->key()] = std::make_shared<const Manifest>(
      Manifest{std::move(name), std::move(spec), modified_at, std::move(from)});
}

bool Store::erase(std::string_view name) {
  const auto parsed = ModelName::parse(name);
  return parsed && models_.erase(parsed->key()) != 0;
}

std::vector<ManifestPtr> Store::list() const {
  std::vector<ManifestPtr> out;
  for (const auto& [key, model] : models_) out.push_back(model);
  std::ranges::sort(out, std::ranges::greater{},
                    [](const auto& model) { return std::pair(model->modified_at, model->name); });
  return out;
}

bool Store::has_blob(std::string_view digest) const { return blobs_.contains(digest); }

json::object model_details(const Manifest& model) {
  const auto& spec = model.spec;
  return {{"parent_model", ""},
          {"format", "gguf"},
          {"family", spec.family},
          {"families", json::array{json::string(spec.family)}},
          {"parameter_size", spec.parameter_size},
          {"quantization_level", spec.quantization},
          {"context_length", spec.context_length},
          {"embedding_length", spec.embedding_length}};
}

json::object model_info(const Manifest& model, Verbosity verbosity) {
  const auto& spec = model.spec;
  const auto arch = [&](std::string_view key) { return spec.family + "." + std::string(key); };
  const auto heads = std::max(1U, spec.embedding_length / 128);
  json::array tokens;
  if (verbosity == Verbosity::verbose) {
    for (int id = 0; id < 512; ++id) tokens.emplace_back(fmt::format("<{}>", id));
  }
  json::object out = {{"general.architecture", spec.family},
                      {"general.file_type", 15},
                      {"general.parameter_count", spec.size_bytes * 8 / 5},
                      {"general.quantization_version", 2}};
  out[arch("attention.head_count")] = heads;
  out[arch("attention.head_count_kv")] = std::max(1U, heads / 3);
  out[arch("attention.key_length")] = 128;
  out[arch("attention.value_length")] = 128;
  out[arch("block_count")] = block_count(model);
  out[arch("context_length")] = spec.context_length;
  out[arch("embedding_length")] = spec.embedding_length;
  out[arch("feed_forward_length")] = spec.embedding_length * 8 / 3;
  out["tokenizer.ggml.bos_token_id"] = 1;
  out["tokenizer.ggml.eos_token_id"] = 2;
  out["tokenizer.ggml.model"] = "gpt2";
  out["tokenizer.ggml.tokens"] = std::move(tokens);
  return out;
}

json::array model_tensors(const Manifest& model) {
  const std::int64_t width = model.spec.embedding_length;
  json::array out;
  const auto add = [&](std::string name, std::int64_t rows) {
    out.push_back(json::object{
        {"name", std::move(name)}, {"type", "Q4_K"}, {"shape", json::array{width, rows}}});
  };
  add("token_embd.weight", 32'000);
  for (std::uint32_t block = 0; block < block_count(model); ++block) {
    add(fmt::format("blk.{}.attn_q.weight", block), width);
    add(fmt::format("blk.{}.ffn_up.weight", block), width * 8 / 3);
  }
  return out;
}

std::string modelfile(const Manifest& model) {
  auto out = fmt::format(
      "# Modelfile generated by \"ollama show\"\n# FROM {}\n\n"
      "FROM /usr/share/ollama/.ollama/models/blobs/sha256-{}\nTEMPLATE {{{{ .Prompt }}}}\n",
      model.name, model.spec.blob);
  if (!model.spec.system.empty()) out += fmt::format("SYSTEM {}\n", model.spec.system);
  if (model.spec.num_ctx) out += fmt::format("PARAMETER num_ctx {}\n", *model.spec.num_ctx);
  return out;
}

std::string parameters_text(const Manifest& model) {
  return model.spec.num_ctx ? fmt::format("{:<31}{}", "num_ctx", *model.spec.num_ctx) : "";
}

}  // namespace sollol::sim
