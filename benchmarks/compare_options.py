"""The options of scripts/compare, which looks at its words here before PyTorch is installed and anything is built."""
import argparse


def read():
    parser = argparse.ArgumentParser(prog="scripts/compare", usage="scripts/compare [OPTIONS]")
    parser.error = lambda reason: parser.exit(2, f"compare: {reason}; see --help\n")
    parser.add_argument("--program", default="", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--avx2", action="store_true", help="no AVX-512 on either side")
    parser.add_argument("--only", choices=["operations", "models", "eigen"], action="append", help="some of the tables")
    parser.add_argument("--before", metavar="PROGRAM", help="another build's `compare`: only a table of the two")
    parser.add_argument("--rows", default="", help="only rows whose label matches this regular expression")
    parser.add_argument("--turns", type=int, default=7, help="measurements of an operation")
    parser.add_argument("--least", type=float, default=0.05, help="seconds that a measurement of an operation takes at least")
    parser.add_argument("--model-turns", type=int, default=5, help="measurements of the autoencoder at batch 1")
    parser.add_argument("--large-turns", type=int, default=3, help="measurements at batch 4 and of the training step")
    parser.add_argument("--no-compile", dest="compiled", action="store_false", help="leave torch.compile out (it needs g++)")
    parser.add_argument("--cpu", action="store_true", help="processor seconds instead of wall-clock seconds, for a busy machine")
    parser.add_argument("--passive", action="store_true", help="PyTorch's threads sleep while they wait: for a busy machine")
    parser.add_argument("--json", help="keep every measurement in this file")
    return parser.parse_args()


if __name__ == "__main__":
    read()
