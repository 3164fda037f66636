// How the rows of an evaluation are written.
#include <fmt/format.h>

#include <algorithm>

#include "train/evaluation.h"
#include "train/flat_json.h"

namespace om {
namespace {

std::string cell(const std::optional<double>& value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : "-";
}

/// The shortest text that gives the number again; nothing for none.
std::string exact(const std::optional<double>& value) { return value ? fmt::format("{}", *value) : ""; }

/// As RFC 4180 has it.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

std::string text_table(const std::vector<EvalRow>& rows, bool with_network,
                       const std::vector<std::string>& notes) {
  const bool noise =
      std::any_of(rows.begin(), rows.end(), [](const EvalRow& row) { return row.sigma.has_value(); });
  std::vector<std::vector<std::string>> cells = {{"data", "model", "sigma", "images", "PSNR dB", "SSIM",
                                                  "SSIM Wang", "FID (pytorch-fid)", "FID (authors)"}};
  const auto fid = [&](const std::optional<double>& value) {
    return with_network ? cell(value, 4) : std::string("no weights");
  };
  for (const EvalRow& row : rows)
    cells.push_back({row.data, row.model, row.sigma ? fmt::format("{} at {}", *row.sigma, row.noise_at) : "-",
                     fmt::format("{}", row.images), cell(row.psnr, 2), cell(row.ssim, 4),
                     cell(row.ssim_wang, 4), fid(row.fid), fid(row.fid_authors)});
  std::vector<std::size_t> widths(cells[0].size());
  for (const auto& line : cells)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  std::string table;
  for (const auto& line : cells) {
    std::string written;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (i == 2 && !noise) continue;
      written +=
          i < 2 ? fmt::format("{:<{}}  ", line[i], widths[i]) : fmt::format("{:>{}}  ", line[i], widths[i]);
    }
    table += written.substr(0, written.find_last_not_of(' ') + 1) + "\n";
  }
  for (const std::string& note : notes) table += note + "\n";
  return table;
}

std::string csv_table(const std::vector<EvalRow>& rows) {
  std::string table = "model,data,sigma,noise_at,images,psnr,ssim,ssim_wang,fid,fid_authors\n";
  for (const EvalRow& row : rows)
    table += fmt::format("{},{},{},{},{},{},{},{},{},{}\n", csv_field(row.model), csv_field(row.data),
                         exact(row.sigma), row.noise_at, row.images, exact(row.psnr), exact(row.ssim),
                         exact(row.ssim_wang), exact(row.fid), exact(row.fid_authors));
  return table;
}

std::string json_table(const std::vector<EvalRow>& rows) {
  const auto number = [](const std::optional<double>& value) { return value ? json_text(*value) : "null"; };
  std::string table = "{\"rows\": [";
  for (const EvalRow& row : rows)
    table += fmt::format(
        "{}\n  {{\"model\": {}, \"data\": {}, \"sigma\": {}, \"noise_at\": {}, \"images\": {}, \"psnr\": {}, "
        "\"ssim\": {}, \"ssim_wang\": {}, \"fid\": {}, \"fid_authors\": {}}}",
        &row == &rows.front() ? "" : ",", json_text(row.model), json_text(row.data), number(row.sigma),
        row.noise_at.empty() ? "null" : json_text(row.noise_at), row.images, number(row.psnr),
        number(row.ssim), number(row.ssim_wang), number(row.fid), number(row.fid_authors));
  return table + "\n]}\n";
}

}  // namespace om
