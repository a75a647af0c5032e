"""The two-stage network: image encoder, joint prompts, video2pose, pose2rot. Import torch only from here down."""
