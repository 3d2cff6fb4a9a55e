//! An independent little Teams and PBX.
