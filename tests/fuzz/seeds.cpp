#include "tests/fuzz/seeds.h"

#include "tensor/error.h"

namespace om::fuzz {

std::vector<Seed> seeds(std::string_view reader) {
  if (reader == "pickle") return pickle_seeds();
  if (reader == "zip") return zip_seeds();
  if (reader == "old_pytorch") return old_pytorch_seeds();
  if (reader == "nvidia") return nvidia_seeds();
  if (reader == "safetensors") return safetensors_seeds();
  if (reader == "config") return config_seeds();
  if (reader == "png") return png_seeds();
  if (reader == "jpeg") return jpeg_seeds();
  if (reader == "webp") return webp_seeds();
  if (reader == "metrics")
    return {{"run", R"({"iteration": 0, "validation": {"images": 4, "psnr": 10.5, "ssim": null}, "stage": 1}
{"iteration": 1, "loss": 1.5, "mse": 1.5, "lr": 0.002, "grad_norm": {"main": 26.4, "noise_heads": 0.2}, "stage": 1}
{"iteration": 2, "loss": 1e-3, "lr": 2e-3, "list": [1, {"a": 2}], "stage": 2}
)"},
            {"torn", "{\"iteration\": 1, \"loss\": 1}\n{\"iteration\": 2, \"lo"},
            {"foreign", "hello\n[1, 2]\n{\"iteration\": -1}\n", false},
            {"deep", "{\"iteration\": 1, \"a\": {\"b\": {\"c\": {\"d\": {\"e\": 1}}}}}\n", false}};
  if (reader == "request")
    return {
        {"page", "GET / HTTP/1.1\r\nHost: 127.0.0.1:8321\r\nSec-Fetch-Site: none\r\n\r\n"},
        {"question",
         "POST /api/picture HTTP/1.1\r\nHost: localhost:8321\r\nOrigin: http://localhost:8321\r\n"
         "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n"},
        {"picture",
         "POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1:8321\r\nContent-Type: application/octet-stream\r\n"
         "Content-Length: 67108864\r\n\r\n"},
        {"rebound", "GET / HTTP/1.1\r\nHost: evil.example:8321\r\n\r\n", false},
        {"chunked",
         "POST /api/picture HTTP/1.1\r\nHost: 127.0.0.1:8321\r\nContent-Type: application/json\r\n"
         "Transfer-Encoding: chunked\r\n\r\n",
         false}};
  if (reader == "model")
    return {{"whole", ""},
            {"no_metadata", std::string("\7\0\0\0", 4)},
            {"wider", std::string("\6\0\2\3", 4)},
            {"missing", std::string("\4\0\0\0", 4), false},
            {"dimensions", std::string("\5\0\0\0\1\x80\0\x0b", 8), false}};
  fail("no seeds for a reader named ", reader);
}

std::vector<std::string> words(std::string_view reader) {
  if (reader == "pickle" || reader == "old_pytorch" || reader == "zip")
    return {"ctorch._utils\n_rebuild_tensor_v2\n",
            "ctorch._utils\n_rebuild_parameter\n",
            "ctorch\nFloatStorage\n",
            "ctorch\nHalfStorage\n",
            "ctorch\nSize\n",
            "ccollections\nOrderedDict\n",
            "cos\nsystem\n",
            "c_codecs\nencode\n",
            "X\x07",
            "storage",
            "cpu",
            "_parameters",
            "_buffers",
            "_modules",
            "state_dict",
            "little_endian",
            "PK\x03\x04",
            "PK\x01\x02",
            "PK\x05\x06",
            "PK\x06\x06",
            "data.pkl",
            "byteorder",
            "constants.pkl",
            "data/0",
            "('storage', <class 'torch.FloatStorage'>, '",
            "L119547037146038801333356L\n."};
  if (reader == "nvidia")
    return {"ctorch_utils.persistence\n_reconstruct_persistent_obj\n",
            "ctorch.storage\n_load_from_bytes\n",
            "cnumpy.core.multiarray\n_reconstruct\n",
            "cnumpy.core.multiarray\nscalar\n",
            "cnumpy._core.numeric\n_frombuffer\n",
            "cnumpy\ndtype\n",
            "cnumpy\nndarray\n",
            "class_name",
            "state",
            "synthesis",
            "mapping",
            "conv_clamp",
            "static_kwargs",
            "components",
            "variables",
            "latin1"};
  if (reader == "safetensors")
    return {"\"dtype\":",
            "\"shape\":",
            "\"data_offsets\":",
            "\"__metadata__\":",
            "\"F32\"",
            "\"F16\"",
            "\"BF16\"",
            "\"I64\"",
            "\"BOOL\"",
            "[0,0]",
            "9223372036854775807",
            "\\u0000",
            "\\ud800"};
  if (reader == "config")
    return {"\"generator\":",
            "\"iterations\":",
            "\"batch\":",
            "\"lr\":",
            "\"lr_noise_heads\":",
            "\"latent\":",
            "\"seed\":",
            "null",
            "true",
            "1e308",
            "-1e999",
            "9223372036854775808",
            "\\u0000",
            "\\ud800",
            "[]",
            "{}"};
  if (reader == "metrics")
    return {"{\"iteration\": 1",
            "\"loss\": ",
            "\"stage\": 2",
            "\"grad_norm\": {",
            "}\n",
            "1e308",
            "-1e999",
            "null",
            "18446744073709551615"};
  if (reader == "request")
    return {"GET / HTTP/1.1\r\n",
            "POST /api/pictures HTTP/1.1\r\n",
            "Host: 127.0.0.1:8321\r\n",
            "Origin: http://127.0.0.1:8321\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Mode: navigate\r\n",
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Type: application/json\r\n",
            "\r\n\r\n"};
  if (reader == "png")
    return {"IHDR",
            "PLTE",
            "IDAT",
            "IEND",
            "tRNS",
            "eXIf",
            "iCCP",
            "zTXt",
            "iTXt",
            "tEXt",
            "acTL",
            "gAMA",
            "Raw profile type exif",
            "XML:com.adobe.xmp",
            "tiff:Orientation=\""};
  if (reader == "webp")
    return {"RIFF", "WEBP", "VP8 ", "VP8L", "VP8X", "ALPH", "ANIM", "ANMF", "EXIF", "XMP ", "ICCP"};
  if (reader == "jpeg")
    return {"\xff\xd8", "\xff\xc0", "\xff\xc2", "\xff\xc9",
            "\xff\xca", "\xff\xc4", "\xff\xdb", "\xff\xda",
            "\xff\xdd", "\xff\xd0", "\xff\xe1", "\xff\xee",
            "\xff\xd9", "Exif",     "Adobe",    "http://ns.adobe.com/xap/1.0/"};
  if (reader == "model")  // edits of the recipe
    return {std::string("\6\0\2\3", 4), std::string("\6\0\2\0", 4), std::string("\5\0\0\0", 4),
            "\1\x11\1\x0b"};
  return {};
}

}  // namespace om::fuzz
